/**
 * Two nodes and their writers: what one changes the other serves no longer, whether it hears through the bus, through
 * the change feed, or by the clock alone.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { encodeAdapter, encodeRecord } from '../../src/adapter/codec.js';
import { Changes } from '../../src/coherence/changes.js';
import { Coherence } from '../../src/coherence/head.js';
import { keyOf } from '../../src/coherence/key.js';
import type { LoRAStorageOptions } from '../../src/options.js';
import { Events } from '../../src/storage/events.js';
import { Invalidation } from '../../src/storage/invalidation.js';
import type { LoRAStorage } from '../../src/storage/lora-storage.js';
import { Tasks } from '../../src/storage/tasks.js';
import { MemoryTier } from '../../src/tiers/memory.js';
import { smallAdapter, useStorage } from '../support/storage.js';
import { waitFor } from '../support/wait.js';

const bench = useStorage();

const ways: Record<string, LoRAStorageOptions> = {
  'bus and change feed': {},
  'the change feed alone, Redis off': { redis: false },
  'the bus and the clock, change feed off': { changeFeed: false, maxStalenessMs: 300 },
  'the clock alone': { changeFeed: false, redis: false, maxStalenessMs: 300 },
};

describe.each(Object.entries(ways))('with %s', (_, options) => {
  let [writer, reader] = [] as unknown as [LoRAStorage, LoRAStorage];

  beforeAll(async () => {
    [writer, reader] = await Promise.all([bench.open(options), bench.open(options)]);
  });

  test('a save reaches the other node', async () => {
    const userId = await bench.user();
    await writer.saveAdapter(smallAdapter(userId, 1));
    expect((await reader.loadAdapterInfo(userId)).version).toBe(1);
    await writer.saveAdapter(smallAdapter(userId, 2));
    await waitFor(async () => (await reader.loadAdapterInfo(userId)).version === 2);
    expect(encodeAdapter(await reader.loadAdapter(userId)).equals(encodeAdapter(smallAdapter(userId, 2)))).toBe(true);
  });

  test('so do a delete, a deleted version and a rollback', async () => {
    const userId = await bench.user();
    for (const seed of [1, 2, 3]) await writer.saveAdapter(smallAdapter(userId, seed));
    await waitFor(async () => (await reader.loadAdapterInfo(userId)).version === 3);
    await writer.deleteAdapterVersion(userId, 'default', 3);
    await waitFor(async () => (await reader.loadAdapterInfo(userId)).version === 2);
    await writer.rollbackAdapter(userId, 'default', 1);
    await waitFor(async () => (await reader.loadAdapterInfo(userId)).version === 4);
    await writer.deleteAdapter(userId);
    await waitFor(() =>
      reader.loadAdapter(userId).then(
        () => false,
        (error) => error.code === 'ADAPTER_NOT_FOUND',
      ),
    );
  });

  test('a node reads what it wrote, at once and every time', async () => {
    const userId = await bench.user();
    for (let version = 1; version <= 30; version++) {
      await writer.saveAdapter(smallAdapter(userId, version));
      expect((await writer.loadAdapterInfo(userId)).version).toBe(version);
      if (version % 10 === 0) {
        await writer.deleteAdapter(userId);
        await expect(writer.loadAdapter(userId)).rejects.toMatchObject({ code: 'ADAPTER_NOT_FOUND' });
      }
    }
  });

  test('what a writer outside changes in Postgres arrives too', async () => {
    const userId = await bench.user();
    await writer.saveAdapter(smallAdapter(userId, 1));
    await reader.loadAdapter(userId);
    await bench.sql(
      `insert into lora_adapters (user_id, version, weights, size_bytes)
       select user_id, 2, $2::bytea, octet_length($2::bytea) from lora_adapters where user_id = $1`,
      [userId, encodeAdapter(smallAdapter(userId, 2))],
    );
    await waitFor(async () => (await reader.loadAdapterInfo(userId)).version === 2);
    const rewritten = encodeAdapter(smallAdapter(userId, 5));
    await bench.sql('update lora_adapters set weights = $2 where user_id = $1 and version = 2', [userId, rewritten]);
    await waitFor(async () => encodeAdapter(await reader.loadAdapter(userId)).equals(rewritten));
    await bench.sql('delete from users where id = $1', [userId]);
    await waitFor(() =>
      reader.loadAdapter(userId).then(
        () => false,
        (error) => error.code === 'ADAPTER_NOT_FOUND',
      ),
    );
  });
});

test('a slow load that began before a save leaves nothing that is served after it', async () => {
  const userId = await bench.user();
  const node = await bench.open();
  const other = await bench.open();
  await other.saveAdapter(smallAdapter(userId, 1));
  for (let round = 2; round < 30; round++) {
    // The load is under way when the save is sent; which of the two Postgres sees first is left open on purpose.
    const loading = other.loadAdapterInfo(userId);
    const reading = node.loadAdapterInfo(userId);
    await node.saveAdapter(smallAdapter(userId, round));
    await Promise.all([loading, reading]);
    expect((await node.loadAdapterInfo(userId)).version).toBe(round);
    await waitFor(async () => (await other.loadAdapterInfo(userId)).version === round);
  }
});

test('the invalidated event says what, how new and through what', async () => {
  const userId = await bench.user();
  const [writer, reader] = [await bench.open(), await bench.open()];
  const events: { userId: string; revision: number; via: string }[] = [];
  for (const node of [writer, reader]) node.on('invalidated', (event) => events.push(event));
  await writer.saveAdapter(smallAdapter(userId));
  const { revision } = await writer.loadAdapterInfo(userId);
  await waitFor(() => events.filter((event) => event.userId === userId).length === 2);
  const mine = events.filter((event) => event.userId === userId);
  expect(mine.map((event) => event.revision)).toEqual([revision, revision]);
  expect(mine.some((event) => event.via === 'self' || event.via === 'change-feed')).toBe(true);
});

test('a mass deletion in psql, told as one “*”, empties what a node trusts', async () => {
  const users = await Promise.all(Array.from({ length: 120 }, () => bench.user()));
  const [writer, reader] = [await bench.open({ redis: false }), await bench.open({ redis: false })];
  await Promise.all(users.map((userId) => writer.saveAdapter(smallAdapter(userId))));
  await reader.loadAdapters(users.map((userId) => ({ userId })));
  await bench.sql('delete from lora_adapters where user_id = any($1)', [users]);
  await waitFor(async () =>
    (await reader.loadAdapters(users.map((userId) => ({ userId })))).every((one) => one === undefined),
  );
});

test('late word of the very version that was loaded meanwhile is no event; word of a newer one is, and of a deletion', async () => {
  const events = new Events();
  const memory = new MemoryTier(10_000);
  const coherence = new Coherence({ maxStalenessMs: 1000, changeFeed: true });
  const nothing = () => undefined;
  const parts = {
    changes: new Changes(coherence, memory),
    redis: undefined,
    events,
    tasks: new Tasks(),
    detach: nothing,
    renewHorizon: nothing,
  };
  const invalidation = new Invalidation(parts);
  const told: number[] = [];
  events.on('invalidated', ({ revision }) => told.push(revision));

  const key = keyOf('00000000-0000-4000-8000-000000000001', 'default');
  const record = encodeRecord(smallAdapter(key.userId));
  const entry = { record, version: 1, updatedAt: 0, server: 1, xid: 1, era: 1, verifiedAt: 0 };
  memory.put(key, { ...entry, revision: 7 });
  invalidation.heard(key, 7, 'bus');
  expect(told).toEqual([]);
  expect(memory.get(key.userId, key.adapterName)?.revision).toBe(7);
  invalidation.heard(key, 8, 'change-feed');
  expect(told).toEqual([8]);
  expect(memory.get(key.userId, key.adapterName)).toBeUndefined();
  invalidation.heard(key, 8, 'bus');
  expect(told).toEqual([8]);
  memory.put(key, { ...entry, record: undefined, version: 0, revision: 9 });
  invalidation.heard(key, 9, 'bus');
  expect(told).toEqual([8, 9]);
  expect(memory.get(key.userId, key.adapterName)?.revision).toBe(9);
  invalidation.close();
});
