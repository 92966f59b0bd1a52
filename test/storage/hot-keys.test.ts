/** memory.hotKeysFile: what is written when a storage closes, and that no file, however it looks, harms the next one. */
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { LoRAStorageOptions } from '../../src/options.js';
import { smallAdapter, useStorage } from '../support/storage.js';
import { waitFor } from '../support/wait.js';
import { holdHeads, insertAdapters, proxyTo, waitingSessions } from './faults/support.js';

const bench = useStorage();
const directory = mkdtempSync(join(tmpdir(), 'lora-store-hot-'));
let file: string;
let warnings: string[];
const warned = ({ message, code }: Error & { code?: string }) => {
  if (code === 'LORA_STORE_HOT_KEYS') warnings.push(message);
};

beforeAll(() => void process.on('warning', warned));
afterAll(() => {
  process.off('warning', warned);
  rmSync(directory, { recursive: true });
});
beforeEach(() => {
  file = join(directory, randomUUID());
  warnings = [];
});
/** All that a test left beside the file would be a temporary one. */
afterEach(() => {
  rmSync(file, { recursive: true, force: true });
  expect(readdirSync(directory)).toEqual([]);
});

const open = (options: LoRAStorageOptions = {}) =>
  bench.open({ redis: false, ...options, memory: { hotKeysFile: file } });

test('names what memory held, used last first, for its owner alone, and the next storage has it again', async () => {
  const users = await insertAdapters(bench, 3);
  const [a = '', b = '', c = ''] = users;
  const first = await open();
  await first.saveAdapter(smallAdapter(a), 'a name of its own ');
  await first.saveAdapter(smallAdapter(a), 'two\nlines');
  for (const user of [c, a, b]) await first.loadAdapter(user);
  await expect(first.loadAdapter(randomUUID())).rejects.toThrow('not found');
  await first.close();
  expect(readFileSync(file, 'utf8')).toBe(`${b} default\n${a} default\n${c} default\n${a} a name of its own \n`);
  expect(statSync(file).mode & 0o777).toBe(0o600);

  const second = await open();
  await waitFor(() => second.cacheStats().memory.entries === 4, { what: 'four adapters in memory' });
  expect(second.peekAdapter(a, 'a name of its own ')).toBeDefined();
  expect(second.peekAdapter(c)).toBeDefined();
  await second.close();
  expect(readFileSync(file, 'utf8').split('\n').sort()).toEqual(
    ['', `${b} default`, `${a} default`, `${c} default`, `${a} a name of its own `].sort(),
  );
  expect(warnings).toEqual([]);
});

test('a file that was torn, or is no list at all, costs nothing but the lines that are none', async () => {
  const [a = '', b = '', c = ''] = await insertAdapters(bench, 3);
  const junk = Buffer.from(Array.from({ length: 3000 }, (_, i) => (i * 7919) % 256));
  writeFileSync(
    file,
    Buffer.concat([
      Buffer.from(`${a} default\n`),
      junk,
      Buffer.from(`\n${b}\n${randomUUID()} default\n${c.slice(0, 20)}`),
    ]),
  );
  const node = await open();
  // Two that are there, one that is not.
  await waitFor(() => node.cacheStats().memory.entries === 3, { what: 'both adapters in memory' });
  expect([a, b, c].map((user) => node.peekAdapter(user) !== undefined)).toEqual([true, true, false]);
  await node.close();
  expect(readFileSync(file, 'utf8').split('\n').sort()).toEqual(['', `${a} default`, `${b} default`].sort());
  expect(warnings).toEqual([]);
});

describe('what cannot be read is warned of, and left as it is', () => {
  test.each<[string, (path: string) => unknown, RegExp]>([
    ['a directory', (path) => execFileSync('mkdir', [path]), /no regular file/],
    ['a pipe that nobody writes to', (path) => execFileSync('mkfifo', [path]), /no regular file/],
    ['a file without end', (path) => execFileSync('truncate', ['-s', String(64 * 2 ** 20 + 1), path]), /larger than/],
  ])('%s', async (_, make, reason) => {
    make(file);
    const before = statSync(file);
    const node = await open();
    await waitFor(() => warnings.length > 0, { what: 'a warning' });
    expect(warnings).toEqual([expect.stringMatching(/^cannot reload the hot keys of memory: /)]);
    expect(warnings[0]).toMatch(reason);
    await node.close();
    expect(statSync(file)).toMatchObject({ ino: before.ino, size: before.size });
  });
});

test('a place that cannot be written to does not keep a storage from closing', async () => {
  file = join(file, 'not', 'there');
  const node = await open();
  await node.close();
  await waitFor(() => warnings.length > 0, { what: 'a warning' });
  expect(warnings).toEqual([expect.stringMatching(/^cannot write the hot keys of memory: ENOENT/)]);
});

/** More than one batch of them, and the first one under way: it waits for heads. */
async function reloading(options: LoRAStorageOptions = {}) {
  const users = await insertAdapters(bench, 40);
  const text = users.map((user) => `${user} default\n`).join('');
  writeFileSync(file, text);
  const heads = await holdHeads(bench.postgresUrl);
  const node = await open(options);
  await waitFor(async () => (await waitingSessions(bench)) > 0, { what: 'the first batch to be under way' });
  return { node, heads, text };
}

test('closed before all of it is loaded, the file stays: it says more than memory does', async () => {
  const { node, heads, text } = await reloading();
  const closed = node.close();
  await heads.release();
  await closed;
  expect(readFileSync(file, 'utf8')).toBe(text);
  expect(node.cacheStats().postgres.loads).toBe(32);
  expect(warnings).toEqual([]);
});

test('Postgres goes away while it is loaded: a warning, and the file stays', async () => {
  const proxy = await proxyTo(bench.postgresUrl);
  const { node, heads, text } = await reloading({ postgres: proxy.url(bench.postgresUrl) });
  proxy.cut();
  await waitFor(() => warnings.length > 0, { what: 'a warning' });
  await heads.release();
  await node.close();
  await proxy.close();
  expect(readFileSync(file, 'utf8')).toBe(text);
});
