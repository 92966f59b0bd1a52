/** After forgetUser a search of Redis and of the tables finds nothing of the user, and no node serves anything of him. */
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { LoRAStorage } from '../../../src/storage/lora-storage.js';
import type { FaultProxy } from '../../support/proxy.js';
import { type OwnServer, startRedis } from '../../support/redis.js';
import { smallAdapter, useStorage } from '../../support/storage.js';
import { waitFor } from '../../support/wait.js';
import { codeOf, earIs, proxyTo, versionAt } from './support.js';

const bench = useStorage();
let server: OwnServer;
let raw: Redis;
let [redisProxy, earProxy] = [] as unknown as [FaultProxy, FaultProxy];

beforeAll(async () => {
  server = await startRedis();
  raw = new Redis(server.url);
  [redisProxy, earProxy] = await Promise.all([proxyTo(server.url), proxyTo(bench.postgresUrl)]);
});
afterAll(async () => {
  raw?.disconnect();
  await Promise.all([redisProxy?.close(), earProxy?.close()]);
  await server?.stop();
});

const near = (): Promise<LoRAStorage> => bench.open({ redis: server.url });
/** Its ear and its Redis can be taken from it. */
const far = () =>
  bench.open({
    postgres: { primary: bench.postgresUrl, direct: earProxy.url(bench.postgresUrl) },
    redis: redisProxy.url(server.url),
    maxStalenessMs: 500,
    redisTimeoutMs: 200,
  });

/** Keys and values of all of Redis, in which the id stands as text or as bytes. */
async function tracesInRedis(userId: string): Promise<string[]> {
  const bytes = Buffer.from(userId.replaceAll('-', ''), 'hex');
  const keys = await raw.keys('*');
  const traced = async (key: string) => key.includes(userId) || (await raw.dumpBuffer(key))?.includes(bytes) === true;
  const found = await Promise.all(keys.map(traced));
  return keys.filter((_, i) => found[i]);
}

/** Rows of all tables but `users`, which is not ours to delete from, in which it stands. */
async function tracesInTables(userId: string): Promise<string[]> {
  const tables = await bench.sql<{ name: string }>(
    `select c.oid::regclass::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind = 'r' and n.nspname not in ('pg_catalog', 'information_schema') and c.relname <> 'users'`,
  );
  expect(tables.map(({ name }) => name)).toEqual(expect.arrayContaining(['lora_adapters', 'lora_adapter_heads']));
  const rows = await Promise.all(
    tables.map(({ name }) =>
      bench.sql<{ row: string }>(`select r::text as row from ${name} r where r::text like $1 or r::text like $2`, [
        `%${userId}%`,
        `%${userId.replaceAll('-', '')}%`,
      ]),
    ),
  );
  return rows.flat().map(({ row }) => row);
}

/** Two adapters, one of them of several versions, one deleted, and a name that never was: each leaves its own mark. */
async function leaveTraces(node: LoRAStorage, userId: string): Promise<void> {
  for (const seed of [1, 2]) await node.saveAdapter(smallAdapter(userId, seed), 'one');
  await node.saveAdapter(smallAdapter(userId), 'two [*]?');
  await node.saveAdapter(smallAdapter(userId), 'gone');
  await node.deleteAdapter(userId, 'gone');
  expect(await versionAt(node, userId, 'never there')).toBe('ADAPTER_NOT_FOUND');
  await waitFor(async () => (await tracesInRedis(userId)).length >= 3);
  expect((await tracesInTables(userId)).length).toBeGreaterThan(3);
}

test('nothing is left in Redis or in the tables, and what others have stays', async () => {
  const node = await near();
  const [userId, other] = [await bench.user(), await bench.user()];
  await leaveTraces(node, other);
  await leaveTraces(node, userId);
  expect(await node.forgetUser(userId)).toBe(3);
  await node.close();
  expect(await tracesInRedis(userId)).toEqual([]);
  expect(await tracesInTables(userId)).toEqual([]);
  expect((await tracesInRedis(other)).length).toBeGreaterThanOrEqual(3);
  expect((await tracesInTables(other)).length).toBeGreaterThan(3);
});

test('a user of whom only absences are cached leaves no trace either', async () => {
  const node = await near();
  const userId = await bench.user();
  for (const name of ['a', 'b']) expect(await versionAt(node, userId, name)).toBe('ADAPTER_NOT_FOUND');
  await waitFor(async () => (await tracesInRedis(userId)).length === 2);
  expect(await node.forgetUser(userId)).toBe(0);
  expect(await tracesInRedis(userId)).toEqual([]);
  expect(node.peekAdapter(userId, 'a')).toBeUndefined();
});

test('the memory of a node that listens is rid of him, unasked', async () => {
  const [node, other] = [await near(), await near()];
  const userId = await bench.user();
  await node.saveAdapter(smallAdapter(userId), 'one');
  await other.loadAdapter(userId, 'one');
  expect(other.cacheStats().memory.entries).toBe(1);
  await node.forgetUser(userId);
  await waitFor(() => other.cacheStats().memory.entries === 0);
});

test('a node that was away serves nothing of him when it is back, and puts nothing back', async () => {
  const [node, away] = [await near(), await far()];
  const userId = await bench.user();
  await leaveTraces(node, userId);
  for (const name of ['one', 'two [*]?']) await away.loadAdapter(userId, name);
  earProxy.cut();
  redisProxy.cut();
  await earIs(away, 'down');
  expect(await node.forgetUser(userId)).toBe(3);
  earProxy.heal();
  redisProxy.heal();
  await earIs(away, 'live');
  for (const name of ['one', 'two [*]?']) {
    expect(away.peekAdapter(userId, name)).toBeUndefined();
    expect(await versionAt(away, userId, name)).toBe('ADAPTER_NOT_FOUND');
  }
  await away.close();
  expect(await tracesInTables(userId)).toEqual([]);
  // Whoever asks for a forgotten user leaves the answer: that there is nothing. No body is in it.
  for (const key of await tracesInRedis(userId)) expect(await raw.strlen(key)).toBeLessThanOrEqual(48);
});

test('with Redis away he is erased where that is possible, the caller hears that it is not all, and calls again', async () => {
  const node = await far();
  const userId = await bench.user();
  await leaveTraces(node, userId);
  redisProxy.mute();
  expect(await codeOf(node.forgetUser(userId))).toBe('STORAGE_UNAVAILABLE');
  expect(await tracesInTables(userId)).toEqual([]);
  expect(await versionAt(node, userId, 'one')).toBe('ADAPTER_NOT_FOUND');
  redisProxy.heal();
  await waitFor(async () => (await node.forgetUser(userId)) === 0);
  await node.close();
  expect(await tracesInRedis(userId)).toEqual([]);
});

test('a save that was committed before, and reaches Redis after, leaves nothing there', async () => {
  const userId = await bench.user();
  const client = new Redis(server.url);
  const [node, slow] = [await near(), await bench.open({ redis: client })];
  let letPass = () => {};
  const passed = new Promise<void>((resolve) => {
    letPass = resolve;
  });
  const scripts = client as unknown as { loraWrite(...args: unknown[]): Promise<number> };
  const write = scripts.loraWrite.bind(client);
  scripts.loraWrite = (...args) => passed.then(() => write(...args));
  // 1. Committed; the write to Redis is on its way.
  await slow.saveAdapter(smallAdapter(userId), 'one');
  // 2. Erased, in Redis too, and the saver hears of it.
  expect(await node.forgetUser(userId)).toBe(1);
  await waitFor(() => slow.cacheStats().memory.entries === 0);
  // 3. The write arrives, and finds nothing that would hold it back.
  letPass();
  await slow.close();
  client.disconnect();
  expect(await tracesInRedis(userId)).toEqual([]);
});
