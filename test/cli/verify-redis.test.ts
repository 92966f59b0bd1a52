/** `lora-store verify --redis`: what an entry may be, and what it may not, each put into Redis as it is. */
import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { encodeRecord } from '../../src/adapter/codec.js';
import { keyOf } from '../../src/coherence/key.js';
import type { Entry } from '../../src/tiers/entry.js';
import { decodeEntry, encodeEntry, fillToken } from '../../src/tiers/redis-entry.js';
import { holdHeads, waitingSessions } from '../storage/faults/support.js';
import { startProxy } from '../support/proxy.js';
import { redisNamespace, redisUrl } from '../support/redis.js';
import { smallAdapter, useStorage } from '../support/storage.js';
import { waitFor } from '../support/wait.js';
import { lora, loraJson, startLora } from './support.js';

interface Found {
  entries: number;
  same: number;
  behind: number;
  forgotten: number;
  findings: { key: string; reason: string }[];
  complete: boolean;
}

const bench = useStorage();
let redis: Redis;
let namespace: string;
/** Its version 2 is the latest, and in Redis. */
let user: string;

const nameOf = (userId: string) => `${namespace}:v1:{${userId}}:default`;
const args = (url = redisUrl()) => [
  ...['verify', '--postgres', bench.postgresUrl, '--redis', url, '--namespace', namespace],
];
const audit = (...more: string[]) => loraJson<Found>([...args(), ...more]);

beforeAll(() => {
  redis = new Redis(redisUrl());
});
afterAll(() => redis?.quit());

beforeEach(async () => {
  namespace = redisNamespace();
  user = await saved();
});

/** A user whose versions 1 and 2 were saved, with the second one in Redis. */
async function saved(redisEncoding: 'f32' | 'f16' = 'f32'): Promise<string> {
  const userId = await bench.user();
  const node = await bench.open({ namespace, redisEncoding });
  await node.saveAdapter(smallAdapter(userId, 1));
  await node.saveAdapter(smallAdapter(userId, 2));
  await node.close();
  return userId;
}

async function held(userId = user): Promise<Entry> {
  return decodeEntry(keyOf(userId, 'default'), (await redis.getBuffer(nameOf(userId))) as Buffer);
}

async function put(change: Partial<Entry>, userId = user): Promise<void> {
  const entry = { ...(await held(userId)), ...change };
  await redis.set(nameOf(userId), encodeEntry(keyOf(userId, 'default'), entry));
}

test('entries that are as their heads, in full and half precision, and tokens of a fill', async () => {
  const half = await saved('f16');
  expect((await held(half)).record?.rounded).toBe(true);
  await redis.set(nameOf(randomUUID()), fillToken(Buffer.alloc(16)));
  const nobody = randomUUID();
  const node = await bench.open({ namespace });
  await expect(node.loadAdapter(nobody)).rejects.toThrow('not found');
  await node.close();
  expect((await redis.getBuffer(nameOf(nobody)))?.length).toBe(48);
  expect(await audit()).toEqual({ entries: 3, same: 3, behind: 0, forgotten: 0, findings: [], complete: true });
  expect((await lora(args())).stdout).toMatch(/^checked 3 entries: 3 the same .*: nothing is bad\n$/);
});

test('one that is older than its head is behind, and one without a head is forgotten: neither is bad', async () => {
  const gone = await saved();
  await bench.sql(
    'insert into lora_adapters (user_id, version, weights, size_bytes) select user_id, 3, weights, size_bytes from lora_adapters where user_id = $1 and version = 1',
    [user],
  );
  await bench.sql('delete from lora_adapters where user_id = $1', [gone]);
  await bench.sql('delete from lora_adapter_heads where user_id = $1', [gone]);
  expect(await audit()).toMatchObject({ entries: 2, same: 0, behind: 1, forgotten: 1, findings: [] });
});

test.each<[string, () => Promise<unknown>, RegExp]>([
  [
    'a revision that was never given',
    async () => put({ revision: (await held()).revision + 1 }),
    /never gave: the head is at/,
  ],
  [
    'the same revision, with another version',
    () => put({ version: 1 }),
    /version 1 under revision \d+, whose version is 2/,
  ],
  ['the same revision, said to be absent', () => put({ version: 0, record: undefined }), /version 0 under/],
  [
    'the same version, with other weights',
    () => put({ record: encodeRecord(smallAdapter(user, 9)) }),
    /weights are not those of version 2/,
  ],
  ['bytes that fell over', () => redis.setrange(nameOf(user), 60, '!'), /checksum/],
  ['no string at all', async () => (await redis.del(nameOf(user))) && redis.lpush(nameOf(user), 'x'), /no string/],
])('%s', async (_, spoil, reason) => {
  await saved();
  await spoil();
  const { findings, same, entries } = await audit();
  expect(findings).toEqual([{ key: nameOf(user), reason: expect.stringMatching(reason) }]);
  expect([same, entries]).toEqual([1, 2]);
  const { code, stdout } = await lora(args());
  expect([code, stdout]).toEqual([1, expect.stringMatching(/: 1 bad\n$/)]);
});

test('in half precision, weights that are not those of the row', async () => {
  const half = await saved('f16');
  const entry = await held(half);
  await redis.set(nameOf(half), encodeEntry(keyOf(half, 'default'), entry, 'f16'));
  expect((await audit()).findings).toEqual([]);
  const changed = encodeRecord(smallAdapter(half, 9));
  await redis.set(nameOf(half), encodeEntry(keyOf(half, 'default'), { ...entry, record: changed }, 'f16'));
  expect((await audit()).findings).toEqual([{ key: nameOf(half), reason: expect.stringMatching(/weights are not/) }]);
});

test('an entry of a time to come, where no head says otherwise', async () => {
  await put({ revision: 2 ** 52 });
  await bench.sql('delete from lora_adapters where user_id = $1', [user]);
  await bench.sql('delete from lora_adapter_heads where user_id = $1', [user]);
  expect((await audit()).findings).toEqual([{ key: nameOf(user), reason: expect.stringMatching(/time to come/) }]);
});

test('a key that is no adapter’s; and other namespaces are not looked at', async () => {
  await redis.set(`${namespace}:v1:x`, 'y');
  await redis.set(`${namespace}2:v1:x`, 'y');
  expect((await audit()).findings).toEqual([{ key: `${namespace}:v1:x`, reason: expect.stringMatching(/no adapter/) }]);
  expect((await audit('--user', user)).findings).toEqual([]);
});

test('--limit ends it, --sample looks at a share', async () => {
  const names = Array.from({ length: 2000 }, (_, i) => `${namespace}:v1:${i}`);
  await redis.mset(names.flatMap((name) => [name, 'y']));
  const limited = await audit('--limit', '3');
  expect([limited.findings.length, limited.complete]).toEqual([3, false]);
  const some = await audit('--limit', '9999', '--sample', '0.1');
  // A tenth of 2,001, give or take ten standard deviations.
  expect(Math.abs(some.entries - 200)).toBeLessThan(135);
});

test('each entry is read before its head: what was saved and cached in between cannot look too new', async () => {
  const heads = await holdHeads(bench.postgresUrl);
  const running = startLora([...args(), '--json']);
  await waitFor(async () => (await waitingSessions(bench)) > 0, { what: 'the command to wait for the heads' });
  // It must have the entry by now.
  await redis.del(nameOf(user));
  await heads.release();
  const { code, stdout } = await running.ended;
  expect([code, JSON.parse(stdout)]).toEqual([0, expect.objectContaining({ entries: 1, same: 1 })]);
});

test('Redis goes away between two entries: exit code 3, and what was found is told', async () => {
  for (let more = 0; more < 4; more++) await saved();
  const { hostname, port } = new URL(redisUrl());
  const proxy = await startProxy(Number(port), hostname);
  try {
    const running = startLora([...args(proxy.url(redisUrl())), '--rate', '1']);
    await oneCompared();
    proxy.cut();
    const { code, stdout, stderr } = await running.ended;
    expect([code, stdout]).toEqual([3, expect.stringMatching(/^ended early, after [12] entries/)]);
    expect(stderr).toMatch(/cannot read from Redis/);
  } finally {
    await proxy.close();
  }
});

test('Ctrl-C between two entries', async () => {
  for (let more = 0; more < 4; more++) await saved();
  const running = startLora([...args(), '--rate', '1']);
  await oneCompared();
  running.interrupt();
  const { code, stdout } = await running.ended;
  expect([code, stdout]).toEqual([130, expect.stringMatching(/^ended early, after [12] entries/)]);
});

/** At one a second the command pauses then. */
async function oneCompared(): Promise<void> {
  const read = `select from pg_stat_activity
    where datname = current_database() and state = 'idle' and query like '%k(user_id, adapter_name, position)%'`;
  await waitFor(async () => (await bench.sql(read)).length === 1, { what: 'the first entry to have been compared' });
}

test.each([
  [[], 2, /set REDIS_URL/],
  [['--redis', 'redis://127.0.0.1:1'], 3, /cannot reach Redis at 127.0.0.1:1: connect ECONNREFUSED .*; is it running/],
])('with Redis %j: exit code %d', async (given, code, words) => {
  const said = await lora(['verify', '--postgres', bench.postgresUrl, '--redis', ...given.slice(1)]);
  expect(said).toEqual({ code, stdout: '', stderr: expect.stringMatching(words) });
});
