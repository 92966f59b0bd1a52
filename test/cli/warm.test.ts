import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { encodeAdapter, UserLoRAAdapter } from '../../src/index.js';
import { insertAdapters } from '../storage/faults/support.js';
import { redisNamespace, redisUrl, startRedis } from '../support/redis.js';
import { useStorage } from '../support/storage.js';
import { waitFor } from '../support/wait.js';
import { lora, loraJson, startLora } from './support.js';

const bench = useStorage();
const directory = mkdtempSync(join(tmpdir(), 'lora-store-warm-'));
const file = join(directory, 'users');
let redis: Redis;
let namespace: string;

beforeAll(() => {
  redis = new Redis(redisUrl());
});
afterAll(async () => {
  rmSync(directory, { recursive: true });
  await redis?.quit();
});
beforeEach(() => {
  namespace = redisNamespace();
});

const env = () => ({ DATABASE_URL: bench.postgresUrl, REDIS_URL: redisUrl() });
const args = (...more: string[]) => ['warm', '--namespace', namespace, ...more];

/** 'user name' of each entry, and of no token. */
async function cached(): Promise<string[]> {
  const names = await redis.keys(`${namespace}:v1:*`);
  const sizes = await Promise.all(names.map((name) => redis.strlen(name)));
  return names
    .filter((_, i) => (sizes[i] as number) > 48)
    .map((name) => name.slice(`${namespace}:v1:`.length).replace(/\{(.*?)\}:/, '$1 '))
    .sort();
}

test('what a file lists is in Redis then; lines that name nobody are counted, and told', async () => {
  const [a = '', b = '', bad = ''] = await insertAdapters(bench, 3);
  await bench.sql(
    `insert into lora_adapters (user_id, adapter_name, weights, size_bytes)
    select user_id, 'of two words', weights, size_bytes from lora_adapters where user_id = $1`,
    [b],
  );
  await bench.sql(`update lora_adapters set weights = '\\x00' where user_id = $1`, [bad]);
  writeFileSync(file, `${a}\n\n${b.toUpperCase()} of two words\r\nnobody\n${randomUUID()}\n${bad}\n`);
  const { code, stdout, stderr } = await lora(args(file), env());
  expect(stderr).toMatch(/^lora-store: line 4: a user id is 32 hexadecimal digits/);
  expect([code, stdout]).toEqual([1, '2 loaded, 1 that do not exist, 1 with bad bytes, 1 lines that name none\n']);
  expect(await cached()).toEqual([`${a} default`, `${b} of two words`].sort());

  writeFileSync(file, `${a}`);
  expect(await loraJson(args(file), env())).toEqual({ loaded: 1, absent: 0, failed: 0, badLines: 0, redisErrors: 0 });
  expect((await lora(args(file), env())).code).toBe(0);
});

test('standard input serves as well', async () => {
  const [a = ''] = await insertAdapters(bench, 1);
  const running = startLora(args('-'), env());
  running.write(`${a}\n`);
  expect(await running.ended).toMatchObject({ code: 0, stdout: expect.stringMatching(/^1 loaded/) });
  expect(await cached()).toEqual([`${a} default`]);
});

test('--hottest: those saved last, each once, however many versions lie before them', async () => {
  const [old = '', busy = '', next = ''] = await insertAdapters(bench, 3);
  const dated = `insert into lora_adapters (user_id, version, weights, size_bytes, created_at)
    select user_id, version + n, weights, size_bytes, now() + $2::interval from lora_adapters, generate_series(1, $3::int) n
    where user_id = $1 and version = 1`;
  await bench.sql(dated, [old, '1 day', 1]);
  await bench.sql(dated, [next, '2 days', 1]);
  // All of the same instant.
  await bench.sql(dated, [busy, '3 days', 2500]);
  expect(await loraJson(args('--hottest', '2'), env())).toMatchObject({ loaded: 2 });
  expect(await cached()).toEqual([`${busy} default`, `${next} default`].sort());
  expect(await loraJson(args('--hottest', '99999'), env())).toMatchObject({ absent: 0 });
  expect(await cached()).toContain(`${old} default`);
});

test('Ctrl-C in a pause between two: what was loaded stays, and is told', async () => {
  writeFileSync(file, (await insertAdapters(bench, 50)).join('\n'));
  const running = startLora(args('--rate', '1', file), env());
  await waitFor(async () => (await cached()).length > 0, { what: 'the first adapter in Redis' });
  running.interrupt();
  const { code, stdout, stderr } = await running.ended;
  expect([code, stderr]).toEqual([130, expect.stringMatching(/lora-store: interrupted\n$/)]);
  expect(stdout).toMatch(/^[12] loaded, /);
});

test('with --json progress is JSON, a line each', async () => {
  const [a = ''] = await insertAdapters(bench, 1);
  writeFileSync(file, `${a}\n`.repeat(500));
  const running = startLora(args('--rate', '5', '--json', file), env());
  await waitFor(() => running.stderr.includes('\n'), { what: 'a line of progress', timeoutMs: 30_000 });
  running.interrupt();
  const [first, ...more] = (await running.ended).stderr.trim().split('\n');
  expect(JSON.parse(first ?? '')).toEqual({ progress: { what: 'adapters', done: expect.any(Number), total: null } });
  expect(more.map((line) => Object.keys(JSON.parse(line))[0])).toContain('note');
});

test('Ctrl-C while nobody writes to standard input', async () => {
  const running = startLora(args('-'), env());
  const sessions = `select from pg_stat_activity where datname = current_database() and application_name = 'lora-store'`;
  await waitFor(async () => (await bench.sql(sessions)).length > 0, { what: 'the command to be connected' });
  running.interrupt();
  expect((await running.ended).code).toBe(130);
});

test('a Redis that is full: what did not get in is told, and the exit code', async () => {
  const server = await startRedis({ maxmemory: '3mb', 'maxmemory-policy': 'noeviction' });
  try {
    const users = await insertAdapters(bench, 100);
    const large = users.map((user) => encodeAdapter(new UserLoRAAdapter(user)));
    await bench.sql(
      `update lora_adapters set weights = w, size_bytes = octet_length(w)
      from unnest($1::uuid[], $2::bytea[]) as n (owner, w) where user_id = owner`,
      [users, large],
    );
    writeFileSync(file, users.join('\n'));
    const { code, stdout } = await lora(args(file), { ...env(), REDIS_URL: server.url });
    expect([code, stdout]).toEqual([1, expect.stringMatching(/^100 loaded.*; \d+ calls of Redis failed/)]);
  } finally {
    await server.stop();
  }
});

test.each<[string, string[], object, number, RegExp]>([
  ['no list', [], {}, 2, /name a file/],
  ['two lists', ['x', '--hottest', '3'], {}, 2, /only one of them/],
  ['a file that is not there', ['/nowhere/at/all'], {}, 1, /ENOENT/],
  ['a directory', [directory], {}, 1, /EISDIR/],
  ['more than are remembered', ['--hottest', '10000001'], {}, 2, /10000000 at most: for more, list them in a file/],
  ['no Redis', ['--hottest', '3'], { REDIS_URL: '' }, 2, /set REDIS_URL/],
  ['a Redis that is not there', ['--hottest', '3'], { REDIS_URL: 'redis://127.0.0.1:1' }, 3, /cannot reach Redis/],
])('%s', async (_, more, other, code, words) => {
  const said = await lora(args(...more), { ...env(), ...other });
  expect([said.code, said.stderr]).toEqual([code, expect.stringMatching(words)]);
});
