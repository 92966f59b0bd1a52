/** A Redis client and a Pool of the caller's have after close() the listeners they had before open(), and no more. */
import type { EventEmitter } from 'node:events';
import { Redis } from 'ioredis';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { LoRAStorageOptions } from '../../../src/options.js';
import { LoRAStorage } from '../../../src/storage/lora-storage.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { endPool } from '../../support/pools.js';
import { redisUrl } from '../../support/redis.js';
import { smallAdapter, useStorage } from '../../support/storage.js';
import { proxyTo } from './support.js';

const bench = useStorage();
let empty: TestDatabase;
let redis: Redis;
let pool: pg.Pool;
const clients: pg.PoolClient[] = [];

beforeAll(async () => {
  empty = await createDatabase({ template: 'empty' });
  redis = new Redis(redisUrl());
  pool = new pg.Pool({ connectionString: bench.postgresUrl, max: 4 });
  pool.on('connect', (client) => clients.push(client));
  // Each of its connections, before anybody else has used it.
  const all = await Promise.all([1, 2, 3, 4].map(() => pool.connect()));
  for (const client of all) client.release();
  await redis.ping();
});
afterAll(async () => {
  redis?.disconnect();
  await endPool(pool);
  await empty?.drop();
});

const count = (emitter: EventEmitter) =>
  Object.fromEntries(emitter.eventNames().map((name) => [String(name), emitter.listenerCount(name)]));
const listeners = () => ({
  process: count(process),
  redis: count(redis),
  pool: count(pool),
  clients: clients.map((client) => count(client as unknown as EventEmitter)),
});
const options = (): LoRAStorageOptions => ({ postgres: pool, redis, namespace: bench.namespace });

test('a storage that was used', async () => {
  const before = listeners();
  expect(before.clients).toHaveLength(4);
  const users = await Promise.all([bench.user(), bench.user(), bench.user(), bench.user()]);
  for (let round = 0; round < 3; round++) {
    const storage = await LoRAStorage.open(options());
    await Promise.all(
      users.map(async (userId) => {
        await storage.saveAdapter(smallAdapter(userId));
        await storage.loadAdapters(users.map((user) => ({ userId: user })));
        await storage.deleteAdapterVersion(userId, 'default', 1);
      }),
    );
    // Calls that fail while they hold a connection give it back as they got it.
    await storage.saveAdapter(smallAdapter('00000000-0000-4000-8000-000000000000')).catch(() => undefined);
    await storage.rollbackAdapter(users[0] as string, 'default', 77).catch(() => undefined);
    await storage.close();
  }
  expect(clients).toHaveLength(4);
  expect(listeners()).toEqual(before);
});

test('one that was refused half-way', async () => {
  const before = listeners();
  const postgres = { primary: pool, direct: empty.url };
  await expect(LoRAStorage.open({ ...options(), postgres })).rejects.toThrow('direct leads to another database');
  await expect(LoRAStorage.open({ ...options(), postgres: empty.url })).rejects.toMatchObject({
    code: 'SCHEMA_OUT_OF_DATE',
  });
  expect(listeners()).toEqual(before);
});

test('one that is closed while its ear is away, and another that goes on over the same clients', async () => {
  const before = listeners();
  const ear = await proxyTo(bench.postgresUrl);
  const postgres = { primary: pool, direct: ear.url(bench.postgresUrl) };
  ear.cut();
  const [one, two] = await Promise.all([1, 2].map(() => LoRAStorage.open({ ...options(), postgres })));
  await one?.close();
  const userId = await bench.user();
  expect(await two?.saveAdapter(smallAdapter(userId))).toBe(1);
  expect(await redis.ping()).toBe('PONG');
  await two?.close();
  expect(listeners()).toEqual(before);
  await ear.close();
});
