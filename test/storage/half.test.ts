/** redisEncoding 'f16': half the bytes in Redis, weights near those that were saved, and no way from there into a save. */
import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { UserLoRAAdapter } from '../../src/adapter/adapter.js';
import { encodeAdapter } from '../../src/adapter/codec.js';
import type { LoRAStorage } from '../../src/storage/lora-storage.js';
import { redisUrl } from '../support/redis.js';
import { useStorage } from '../support/storage.js';
import { waitFor } from '../support/wait.js';

const bench = useStorage();
let raw: Redis;
beforeAll(() => {
  raw = new Redis(redisUrl());
});
afterAll(() => {
  raw?.disconnect();
});

const open = (redisEncoding: 'f16' | 'f32' = 'f16'): Promise<LoRAStorage> => bench.open({ redisEncoding });
const redisBytes = (userId: string) => raw.strlen(`${bench.namespace}:v1:{${userId}}:default`);
const adapterOf = (userId: string) => new UserLoRAAdapter(userId).initializeRandom(1);

/** Saved by one node, and in Redis. */
async function saved(edit: (base: Float32Array) => void = () => {}): Promise<UserLoRAAdapter> {
  const adapter = adapterOf(await bench.user()).updateWeights(edit);
  await (await open()).saveAdapter(adapter);
  await waitFor(async () => (await redisBytes(adapter.userId)) > 0);
  return adapter;
}

function farthest(one: UserLoRAAdapter, other: UserLoRAAdapter): number {
  const distances = (['baseLayerWeights', 'userLayerWeights'] as const).flatMap((layer) =>
    Array.from(one[layer].data, (weight, i) => Math.abs(weight - (other[layer].data[i] ?? Number.NaN))),
  );
  return Math.max(...distances);
}

/** Without the time, which differs by what a row keeps. */
const bytesOf = (adapter: UserLoRAAdapter) => encodeAdapter(adapter).toString('hex');

test('Redis holds half the bytes, Postgres all of them, and a load from Redis is off by less than 0.001', async () => {
  const adapter = await saved();
  expect(await redisBytes(adapter.userId)).toBe(48 + 92 + 2 * 8 * (512 + 768));
  const [row] = await bench.sql<{ weights: Buffer }>('select weights from lora_adapters where user_id = $1', [
    adapter.userId,
  ]);
  expect(row?.weights.equals(encodeAdapter(adapter))).toBe(true);
  for (const node of [await open('f16'), await open('f32')]) {
    const loaded = await node.loadAdapterInfo(adapter.userId);
    expect(loaded.tier).toBe('redis');
    expect(farthest(loaded.adapter, adapter)).toBeGreaterThan(0);
    expect(farthest(loaded.adapter, adapter)).toBeLessThan(0.001);
    expect(loaded.adapter.trainingIterations).toBe(adapter.trainingIterations);
  }
});

test('the node that saved keeps what was saved', async () => {
  const node = await open();
  const adapter = adapterOf(await bench.user());
  await node.saveAdapter(adapter);
  expect(bytesOf(await node.loadAdapter(adapter.userId))).toBe(bytesOf(adapter));
});

test('a weight that no half can hold leaves the whole adapter as it is', async () => {
  const adapter = await saved((base) => {
    base[7] = 70_000;
  });
  expect(await redisBytes(adapter.userId)).toBe(48 + 41_052);
  const { tier, adapter: loaded } = await (await open()).loadAdapterInfo(adapter.userId);
  expect([tier, bytesOf(loaded)]).toEqual(['redis', bytesOf(adapter)]);
});

test('in Redis it is fenced like any other entry: nothing older replaces it, and a clear below its revision spares it', async () => {
  const { userId } = await saved();
  const [node, other] = [await open(), await open()];
  await node.saveAdapter(adapterOf(userId));
  await waitFor(async () => (await other.loadAdapterInfo(userId)).version === 2);
  // Longer than whoever hears of a save waits for its confirmation before it clears what is older.
  const heard = performance.now();
  await waitFor(() => performance.now() - heard > 300);
  expect(await redisBytes(userId)).toBe(48 + 92 + 2 * 8 * (512 + 768));
});

describe('exact', () => {
  test('brings the weights as they were saved, and memory keeps them', async () => {
    const adapter = await saved();
    const node = await open();
    const rounded = await node.loadAdapterInfo(adapter.userId);
    expect(rounded.tier).toBe('redis');
    const { tier, adapter: exact } = await node.loadAdapterInfo(adapter.userId, 'default', { exact: true });
    expect([tier, bytesOf(exact)]).toEqual(['postgres', bytesOf(adapter)]);
    for (const options of [undefined, { exact: true }]) {
      const again = await node.loadAdapterInfo(adapter.userId, 'default', options);
      expect([again.tier, bytesOf(again.adapter)]).toEqual(['memory', bytesOf(adapter)]);
    }
  });

  test('of many: only those that were rounded are asked for again, and absent ones stay absent', async () => {
    const [one, two] = [await saved(), await saved()];
    const node = await open();
    await node.loadAdapter(one.userId);
    const before = node.cacheStats().postgres.loads;
    const keys = [one, { userId: randomUUID() }, two, one].map(({ userId }) => ({ userId }));
    const loaded = await node.loadAdapters(keys, { exact: true });
    expect(loaded.map((adapter) => adapter && bytesOf(adapter as UserLoRAAdapter))).toEqual(
      [one, undefined, two, one].map((adapter) => adapter && bytesOf(adapter)),
    );
    expect(node.cacheStats().postgres.loads - before).toBe(2);
  });

  test('a version asked for by its number is exact by itself', async () => {
    const adapter = await saved();
    const node = await open();
    await node.loadAdapter(adapter.userId);
    expect(bytesOf(await node.loadAdapterVersion(adapter.userId, 'default', 1))).toBe(bytesOf(adapter));
  });
});

describe('a save', () => {
  test('of rounded weights is refused, trained or not, and says how to load them', async () => {
    const adapter = await saved();
    const node = await open();
    const rounded = await node.loadAdapter(adapter.userId);
    const trained = rounded.clone().updateWeights((base) => base.fill(1, 0, 1));
    for (const attempt of [rounded, rounded.clone(), trained]) {
      await expect(node.saveAdapter(attempt)).rejects.toMatchObject({
        code: 'INVALID_ADAPTER',
        message: expect.stringContaining('load with { exact: true }'),
      });
    }
    expect(await node.countAdapters(adapter.userId)).toBe(1);
  });

  test('ten rounds of loading and saving by turns wear nothing down', async () => {
    const adapter = await saved();
    const nodes = [await open(), await open()];
    for (let round = 0; round < 10; round++) {
      const node = nodes[round % 2] as LoRAStorage;
      await node.saveAdapter(await node.loadAdapter(adapter.userId, 'default', { exact: true }));
    }
    expect(bytesOf(await (await open()).loadAdapter(adapter.userId, 'default', { exact: true }))).toBe(
      bytesOf(adapter),
    );
  });
});
