/** Which tier answers when, and what each of them is left with: the load flow of README, step by step. */
import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { endPool } from '../support/pools.js';
import { redisUrl } from '../support/redis.js';
import { smallAdapter, useStorage } from '../support/storage.js';
import { waitFor } from '../support/wait.js';

const bench = useStorage();
let redis: Redis;

beforeAll(() => {
  redis = new Redis(redisUrl());
});
afterAll(() => redis?.disconnect());

function redisKey(userId: string, adapterName = 'default'): string {
  return `${bench.namespace}:v1:{${userId}}:${adapterName}`;
}

test('memory hit, Redis hit and Postgres load are told apart by loadAdapterInfo', async () => {
  const userId = await bench.user();
  const saver = await bench.open();
  await saver.saveAdapter(smallAdapter(userId));
  expect(await saver.loadAdapterInfo(userId)).toMatchObject({ tier: 'memory', version: 1, stale: false });
  await waitFor(() => redis.exists(redisKey(userId)));

  const node = await bench.open({ memory: false, redis: false });
  expect(await node.loadAdapterInfo(userId)).toMatchObject({ tier: 'postgres', version: 1, stale: false });

  // The entry in Redis was stamped before this node listened, so its head is verified once; the bytes are Redis's.
  const other = await bench.open();
  expect(await other.loadAdapterInfo(userId)).toMatchObject({ tier: 'redis', version: 1, stale: false });
  expect(await other.loadAdapterInfo(userId)).toMatchObject({ tier: 'memory', version: 1, stale: false });
  expect(other.cacheStats()).toMatchObject({
    postgres: { loads: 0 },
    redis: { hits: 1 },
    memory: { hits: 1, misses: 1 },
  });
});

test('all tiers of one answer agree on its revision, and verifiedAgeMs is small while the ear is live', async () => {
  const userId = await bench.user();
  const node = await bench.open();
  await node.saveAdapter(smallAdapter(userId));
  const bare = await bench.open({ memory: false, redis: false });
  const [hot, cold] = [await node.loadAdapterInfo(userId), await bare.loadAdapterInfo(userId)];
  expect(hot.revision).toBe(cold.revision);
  for (const { verifiedAgeMs } of [hot, cold]) expect(verifiedAgeMs).toBeLessThan(1000);
});

test('the key in Redis is namespace, format, user, name; a save fills it and a delete clears it', async () => {
  const userId = await bench.user();
  const node = await bench.open();
  await node.saveAdapter(smallAdapter(userId), 'some name');
  await waitFor(() => redis.exists(redisKey(userId, 'some name')));
  expect(await redis.pttl(redisKey(userId, 'some name'))).toBeGreaterThan(0.89 * 24 * 3_600_000);
  await node.deleteAdapter(userId, 'some name');
  await waitFor(async () => (await redis.exists(redisKey(userId, 'some name'))) === 0);
});

test('close() waits for the Redis write and the publish of a save', async () => {
  const userId = await bench.user();
  const node = await bench.open({ memory: false });
  await node.saveAdapter(smallAdapter(userId));
  await node.close();
  expect(await redis.exists(redisKey(userId))).toBe(1);
  expect(node.cacheStats().bus.published).toBe(1);
});

describe('read-through', () => {
  // Nodes of this file that hear of a save without its bus message clear the key, a reader's token included: then that
  // fill is lost, and the next load makes another.
  test('a row that only Postgres has is left in memory and Redis', async () => {
    const userId = await bench.user();
    const bare = await bench.open({ memory: false, redis: false });
    await bare.saveAdapter(smallAdapter(userId));
    const node = await bench.open();
    expect(await node.loadAdapterInfo(userId)).toMatchObject({ tier: 'postgres' });
    expect(await node.loadAdapterInfo(userId)).toMatchObject({ tier: 'memory' });
    expect(node.cacheStats().postgres.loads).toBe(1);
    const memoryless = await bench.open({ memory: false });
    await waitFor(async () => (await memoryless.loadAdapterInfo(userId)).tier === 'redis');
  });

  test('loadAdapters leaves its rows there too', async () => {
    const users = await Promise.all([bench.user(), bench.user()]);
    const bare = await bench.open({ memory: false, redis: false });
    for (const userId of users) await bare.saveAdapter(smallAdapter(userId));
    const keys = users.map((userId) => ({ userId }));
    const node = await bench.open();
    await node.loadAdapters(keys);
    for (const userId of users) expect(node.peekAdapter(userId)?.userId).toBe(userId);
    const memoryless = await bench.open({ memory: false });
    await waitFor(async () => {
      const { loads } = memoryless.cacheStats().postgres;
      await memoryless.loadAdapters(keys);
      return memoryless.cacheStats().postgres.loads === loads;
    });
    expect(memoryless.cacheStats().redis.hits).toBeGreaterThanOrEqual(2);
  });

  test('absence is cached as well, in memory and in Redis, until somebody saves', async () => {
    const userId = await bench.user();
    const node = await bench.open();
    const missing = { code: 'ADAPTER_NOT_FOUND', userId, adapterName: 'default' };
    await expect(node.loadAdapter(userId)).rejects.toMatchObject(missing);
    await waitFor(async () => (await redis.strlen(redisKey(userId))) === 48);
    await expect(node.loadAdapter(userId)).rejects.toMatchObject(missing);
    expect(node.cacheStats().memory.hits).toBe(1);
    expect(node.peekAdapter(userId)).toBeUndefined();

    const other = await bench.open();
    await other.saveAdapter(smallAdapter(userId));
    await waitFor(() => node.loadAdapter(userId));
  });
});

describe('single flight', () => {
  test('loads of one cold key at the same time make one query', async () => {
    const userId = await bench.user();
    await (await bench.open({ memory: false, redis: false })).saveAdapter(smallAdapter(userId));
    const node = await bench.open();
    const loaded = await Promise.all(Array.from({ length: 500 }, () => node.loadAdapter(userId)));
    expect(new Set(loaded.map((adapter) => adapter.userId))).toEqual(new Set([userId]));
    expect(node.cacheStats()).toMatchObject({ coalesced: 499, postgres: { loads: 1 } });
    // Each waiter has an adapter of its own.
    expect(new Set(loaded).size).toBe(500);
  });

  test('an aborted load rejects with its reason and harms no other waiter', async () => {
    const userId = await bench.user();
    await (await bench.open({ memory: false, redis: false })).saveAdapter(smallAdapter(userId));
    const node = await bench.open();
    const controller = new AbortController();
    const aborted = node.loadAdapter(userId, 'default', { signal: controller.signal });
    const kept = node.loadAdapter(userId);
    controller.abort(new Error('the request went away'));
    await expect(aborted).rejects.toThrow('the request went away');
    expect((await kept).userId).toBe(userId);
    await expect(node.loadAdapter(userId, 'default', { signal: controller.signal })).rejects.toThrow('went away');
  });
});

describe('loadAdapterOr', () => {
  test('falls back when there is none, and says so', async () => {
    const userId = await bench.user();
    const node = await bench.open();
    const events: unknown[] = [];
    node.on('fallback', (event) => events.push(event));
    const fallback = smallAdapter(userId, 9);
    expect(await node.loadAdapterOr(userId, 'default', () => fallback)).toBe(fallback);
    expect(events).toMatchObject([{ userId, adapterName: 'default', cause: { code: 'ADAPTER_NOT_FOUND' } }]);
    await node.saveAdapter(smallAdapter(userId));
    expect(await node.loadAdapterOr(userId, 'default', () => fallback)).not.toBe(fallback);
    expect(events).toHaveLength(1);
  });

  test('past its budget the caller goes on with the fallback, and the load goes on into the cache', async () => {
    const userId = await bench.user();
    await (await bench.open({ memory: false, redis: false })).saveAdapter(smallAdapter(userId));
    const node = await bench.open();
    const blocker = await bench.sql<{ pid: number }>('select pg_backend_pid() as pid');
    expect(blocker).toHaveLength(1);
    const fallback = smallAdapter(userId, 9);
    // A budget of no time at all: nothing that goes over a socket is there yet.
    const used = await node.loadAdapterOr(userId, 'default', () => fallback, { budgetMs: 0 });
    if (used !== fallback) expect(used.userId).toBe(userId);
    await waitFor(() => node.peekAdapter(userId));
  });

  test('bad input is not something to fall back from', async () => {
    const node = await bench.open();
    await expect(node.loadAdapterOr('nobody', 'default', () => smallAdapter(randomUUID()))).rejects.toMatchObject({
      code: 'INVALID_ADAPTER',
    });
  });
});

describe('without a tier', () => {
  test('memory off, Redis off, both off: loads and saves go on', async () => {
    for (const options of [
      { memory: false as const },
      { redis: false as const },
      { memory: false as const, redis: false as const },
    ]) {
      const userId = await bench.user();
      const node = await bench.open(options);
      expect(await node.saveAdapter(smallAdapter(userId))).toBe(1);
      expect((await node.loadAdapterInfo(userId)).version).toBe(1);
      expect(await node.saveAdapter(smallAdapter(userId))).toBe(2);
      expect((await node.loadAdapterInfo(userId)).version).toBe(2);
    }
  });

  test('health says which parts there are', async () => {
    expect(await (await bench.open()).health()).toEqual({
      postgres: 'up',
      redis: 'up',
      bus: 'live',
      changeFeed: 'live',
    });
    expect(await (await bench.open({ redis: false, changeFeed: false })).health()).toEqual({
      postgres: 'up',
      redis: 'off',
      bus: 'off',
      changeFeed: 'off',
    });
  });

  test('maxBytes bounds what memory holds', async () => {
    const bytes = 500;
    const node = await bench.open({ memory: { maxBytes: bytes } });
    for (let i = 0; i < 10; i++) await node.saveAdapter(smallAdapter(await bench.user()));
    const { memory } = node.cacheStats();
    expect(memory.bytes).toBeLessThanOrEqual(bytes);
    expect(memory.entries).toBeGreaterThan(0);
    expect(memory.evictions).toBe(10 - memory.entries);
  });
});

describe('a database client of the caller’s', () => {
  test('his pool serves, over hex, and stays open', async () => {
    const { default: pg } = await import('pg');
    const pool = new pg.Pool({ connectionString: bench.postgresUrl, max: 2 });
    const userId = await bench.user();
    const node = await bench.open({ postgres: pool, memory: false, redis: false });
    await node.saveAdapter(smallAdapter(userId));
    expect((await node.loadAdapterInfo(userId)).tier).toBe('postgres');
    await node.close();
    expect((await pool.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
    await endPool(pool);
  });

  test('his Redis client serves and stays connected', async () => {
    const client = new Redis(redisUrl());
    const userId = await bench.user();
    const node = await bench.open({ redis: client });
    await node.saveAdapter(smallAdapter(userId));
    await waitFor(() => client.exists(redisKey(userId)));
    await node.close();
    expect(await client.ping()).toBe('PONG');
    client.disconnect();
  });
});
