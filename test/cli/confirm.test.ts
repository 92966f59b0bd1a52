/** What is asked on a terminal, which `script` of util-linux makes. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { LoRAStorage } from '../../src/index.js';
import { smallAdapter, useStorage } from '../support/storage.js';
import { waitFor } from '../support/wait.js';
import { SCRIPT } from './support.js';

const bench = useStorage();

let node: LoRAStorage;
let user: string;

beforeAll(async () => {
  node = await bench.open({ redis: false });
});

afterAll(() => node?.close());

beforeEach(async () => {
  user = await bench.user();
  await node.saveAdapter(smallAdapter(user));
});

/** Runs a command that asks, presses `keys` once it has, and says how it ended. */
async function answering(args: string[], keys: string): Promise<{ code: number; shown: string }> {
  const command = [process.execPath, SCRIPT, ...args].map((word) => `'${word}'`).join(' ');
  const child = spawn('script', ['--quiet', '--return', '--flush', '--command', command, '/dev/null'], {
    env: { ...process.env, DATABASE_URL: bench.postgresUrl, REDIS_URL: '' },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const closed = once(child, 'close') as Promise<[code: number]>;
  let shown = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (shown += text));
  try {
    await waitFor(() => shown.includes('[y/N]'));
    child.stdin.write(keys);
    const [code] = await closed;
    return { code, shown };
  } finally {
    child.kill();
  }
}

test.each([
  ['delete', 'y\n', 0, 'Delete all versions of', 0],
  ['forget', 'yes\n', 0, 'Erase every adapter of', 0],
  ['delete', 'n\n', 1, 'nothing was deleted', 1],
  ['forget', '\n', 1, 'nothing was erased', 1],
  ['delete', '\u0004', 1, 'nothing was deleted', 1],
  ['delete', '\u0003', 130, 'interrupted', 1],
])('%s, answered by %j: exit code %d', async (command, keys, code, words, left) => {
  const ended = await answering([command, user], keys);
  expect(ended).toEqual({ code, shown: expect.stringContaining(words) });
  expect(ended.shown).toContain(user);
  expect(await node.countAdapters(user)).toBe(left);
});
