/** The main job, as the Rust module before us described it: save, load, version, list, delete, count. */
import { beforeAll, describe, expect, test } from 'vitest';
import { UserLoRAAdapter } from '../../src/adapter/adapter.js';
import { encodeAdapter } from '../../src/adapter/codec.js';
import type { LoRAStorage } from '../../src/storage/lora-storage.js';
import { smallAdapter, useStorage } from '../support/storage.js';

const bench = useStorage();
let storage: LoRAStorage;

beforeAll(async () => {
  storage = await bench.open();
});

describe('round trip', () => {
  test('what is saved is loaded again, weight for weight, from every tier', async () => {
    const userId = await bench.user();
    const adapter = new UserLoRAAdapter(userId).initializeRandom(7);
    adapter.trainingIterations = 3;
    await storage.saveAdapter(adapter);
    for (const options of [{}, { memory: false as const }, { memory: false as const, redis: false as const }]) {
      const loaded = await (await bench.open(options)).loadAdapter(userId);
      expect(encodeAdapter(loaded).equals(encodeAdapter(adapter))).toBe(true);
      expect(loaded.trainingIterations).toBe(3);
      const [row] = await bench.sql<{ updated_at: Date }>('select updated_at from lora_adapters where user_id = $1', [
        userId,
      ]);
      expect(loaded.lastTrainedTime.getTime()).toBe(row?.updated_at.getTime());
    }
  });

  test('forward gives the same after a round trip as before', async () => {
    const userId = await bench.user();
    const adapter = new UserLoRAAdapter(userId).initializeRandom(8);
    await storage.saveAdapter(adapter);
    const input = Float32Array.from({ length: 512 }, (_, i) => Math.sin(i));
    const node = await bench.open({ memory: false, redis: false });
    expect((await node.loadAdapter(userId)).forward(input)).toEqual(adapter.forward(input));
  });

  test('a user id in capitals is the same user', async () => {
    const userId = await bench.user();
    await storage.saveAdapter(smallAdapter(userId.toUpperCase()));
    expect((await storage.loadAdapter(userId.toUpperCase())).userId).toBe(userId);
    expect(storage.peekAdapter(userId.toUpperCase())?.userId).toBe(userId);
  });

  test('what the caller changes after calling save is not saved', async () => {
    const userId = await bench.user();
    const adapter = smallAdapter(userId);
    const bytes = encodeAdapter(adapter);
    const saving = storage.saveAdapter(adapter);
    adapter.updateWeights((base) => base.fill(9));
    await saving;
    expect(encodeAdapter(await storage.loadAdapter(userId)).equals(bytes)).toBe(true);
  });

  test('a loaded adapter is the caller’s own: what he does to it reaches no cache', async () => {
    const userId = await bench.user();
    const adapter = smallAdapter(userId);
    await storage.saveAdapter(adapter);
    const mine = await storage.loadAdapter(userId);
    mine.updateWeights((base, user) => {
      base.fill(1);
      user.fill(1);
    });
    mine.trainingIterations = 99;
    mine.lastTrainedTime.setTime(0);
    const again = await storage.loadAdapter(userId);
    expect(encodeAdapter(again).equals(encodeAdapter(adapter))).toBe(true);
    expect(again.lastTrainedTime.getTime()).toBeGreaterThan(0);
  });
});

describe('versioning', () => {
  test('each save is a new version, the latest is loaded, an old one stays at hand', async () => {
    const userId = await bench.user();
    const adapters = [1, 2, 3].map((seed) => smallAdapter(userId, seed));
    for (const [i, adapter] of adapters.entries()) expect(await storage.saveAdapter(adapter, 'production')).toBe(i + 1);
    expect((await storage.loadAdapterInfo(userId, 'production')).version).toBe(3);
    for (const [i, adapter] of adapters.entries()) {
      const loaded = await storage.loadAdapterVersion(userId, 'production', i + 1);
      expect(encodeAdapter(loaded).equals(encodeAdapter(adapter))).toBe(true);
    }
  });

  test('rollback appends the old version as a new one', async () => {
    const userId = await bench.user();
    await storage.saveAdapter(smallAdapter(userId, 1));
    await storage.saveAdapter(smallAdapter(userId, 2));
    expect(await storage.rollbackAdapter(userId, 'default', 1)).toBe(3);
    const { adapter, version } = await storage.loadAdapterInfo(userId);
    expect(version).toBe(3);
    expect(encodeAdapter(adapter).equals(encodeAdapter(smallAdapter(userId, 1)))).toBe(true);
  });

  test('two names of one user are two adapters', async () => {
    const userId = await bench.user();
    await storage.saveAdapter(smallAdapter(userId, 1), 'production');
    await storage.saveAdapter(smallAdapter(userId, 2), 'experimental');
    const loaded = await storage.loadAdapter(userId, 'experimental');
    expect(encodeAdapter(loaded).equals(encodeAdapter(smallAdapter(userId, 2)))).toBe(true);
    expect((await storage.loadAdapterInfo(userId, 'production')).version).toBe(1);
  });

  test('expectedVersion saves only over that version, 0 only as the first', async () => {
    const userId = await bench.user();
    const adapter = smallAdapter(userId);
    expect(await storage.saveAdapter(adapter, 'default', { expectedVersion: 0 })).toBe(1);
    expect(await storage.saveAdapter(adapter, 'default', { expectedVersion: 1 })).toBe(2);
    for (const expectedVersion of [0, 1, 3]) {
      await expect(storage.saveAdapter(adapter, 'default', { expectedVersion })).rejects.toMatchObject({
        code: 'VERSION_CONFLICT',
        expectedVersion,
        actualVersion: 2,
      });
    }
    await storage.deleteAdapter(userId);
    await expect(storage.saveAdapter(adapter, 'default', { expectedVersion: 2 })).rejects.toMatchObject({
      actualVersion: 0,
    });
    expect(await storage.saveAdapter(adapter, 'default', { expectedVersion: 0 })).toBe(3);
  });

  test('no version number is used twice, not after deletes either', async () => {
    const userId = await bench.user();
    await storage.saveAdapter(smallAdapter(userId));
    await storage.saveAdapter(smallAdapter(userId));
    await storage.deleteAdapter(userId);
    expect(await storage.saveAdapter(smallAdapter(userId))).toBe(3);
  });
});

describe('list and count', () => {
  test('every version of every adapter, newest first', async () => {
    const userId = await bench.user();
    const adapter = smallAdapter(userId);
    adapter.trainingIterations = 12;
    await storage.saveAdapter(adapter, 'a');
    await storage.saveAdapter(adapter, 'b');
    await storage.saveAdapter(adapter, 'a');
    const listed = await storage.listAdapters(userId);
    expect(listed.map(({ adapterName, version }) => [adapterName, version])).toEqual([
      ['a', 2],
      ['b', 1],
      ['a', 1],
    ]);
    expect(listed[0]).toMatchObject({ userId, sizeBytes: encodeAdapter(adapter).length, trainingIterations: 12 });
    expect(listed[0]?.createdAt).toBeInstanceOf(Date);
    expect(listed[0]?.updatedAt.getTime()).toBeGreaterThanOrEqual(listed[2]?.updatedAt.getTime() ?? 0);
    expect(await storage.countAdapters(userId)).toBe(3);
    expect(await storage.countAdapters(await bench.user())).toBe(0);
  });

  test('statistics count rows, users and bytes', async () => {
    const before = await storage.getStorageStats();
    const userId = await bench.user();
    const bytes = encodeAdapter(smallAdapter(userId)).length;
    await storage.saveAdapter(smallAdapter(userId));
    await storage.saveAdapter(smallAdapter(userId));
    const after = await storage.getStorageStats();
    expect(after.totalAdapters).toBe(before.totalAdapters + 2);
    expect(after.uniqueUsers).toBe(before.uniqueUsers + 1);
    expect(after.totalBytes).toBe(before.totalBytes + 2 * bytes);
    expect(after.avgBytes).toBeCloseTo(after.totalBytes / after.totalAdapters, 3);
  });
});

describe('delete', () => {
  test('deletes every version and says how many', async () => {
    const userId = await bench.user();
    await storage.saveAdapter(smallAdapter(userId));
    await storage.saveAdapter(smallAdapter(userId));
    expect(await storage.deleteAdapter(userId)).toBe(2);
    await expect(storage.loadAdapter(userId)).rejects.toMatchObject({ code: 'ADAPTER_NOT_FOUND' });
    expect(await storage.deleteAdapter(userId)).toBe(0);
  });

  test('deleting the latest version brings the one before it back', async () => {
    const userId = await bench.user();
    await storage.saveAdapter(smallAdapter(userId, 1));
    await storage.saveAdapter(smallAdapter(userId, 2));
    expect(await storage.deleteAdapterVersion(userId, 'default', 2)).toBe(true);
    expect(await storage.deleteAdapterVersion(userId, 'default', 2)).toBe(false);
    const { adapter, version } = await storage.loadAdapterInfo(userId);
    expect(version).toBe(1);
    expect(encodeAdapter(adapter).equals(encodeAdapter(smallAdapter(userId, 1)))).toBe(true);
    await expect(storage.loadAdapterVersion(userId, 'default', 2)).rejects.toMatchObject({ version: 2 });
    await expect(storage.rollbackAdapter(userId, 'default', 2)).rejects.toMatchObject({
      code: 'ADAPTER_NOT_FOUND',
      version: 2,
    });
    expect(await storage.saveAdapter(smallAdapter(userId))).toBe(3);
  });

  test('pruneVersions keeps the newest of each adapter, for one user or all', async () => {
    const [one, two] = [await bench.user(), await bench.user()];
    for (const userId of [one, two]) for (let i = 0; i < 4; i++) await storage.saveAdapter(smallAdapter(userId));
    expect(await storage.pruneVersions({ keepLatest: 3, userId: one })).toBe(1);
    expect((await storage.listAdapters(one)).map(({ version }) => version)).toEqual([4, 3, 2]);
    expect(await storage.countAdapters(two)).toBe(4);
    expect(await storage.pruneVersions({ keepLatest: 1 })).toBeGreaterThanOrEqual(5);
    expect((await storage.listAdapters(two)).map(({ version }) => version)).toEqual([4]);
    expect((await storage.loadAdapterInfo(two)).version).toBe(4);
  });

  test('pruneOlderThan spares the latest unless told otherwise', async () => {
    const userId = await bench.user();
    await storage.saveAdapter(smallAdapter(userId));
    await storage.saveAdapter(smallAdapter(userId));
    await bench.sql(`update lora_adapters set created_at = now() - interval '91 days' where user_id = $1`, [userId]);
    expect(await storage.pruneOlderThan({ olderThanDays: 90 })).toBe(1);
    expect((await storage.listAdapters(userId)).map(({ version }) => version)).toEqual([2]);
    await storage.loadAdapter(userId);
    expect(await storage.pruneOlderThan({ olderThanDays: 90, includeLatest: true })).toBe(1);
    await expect(storage.loadAdapter(userId)).rejects.toMatchObject({ code: 'ADAPTER_NOT_FOUND' });
  });

  test('pruning goes on until nothing is left, in batches', async () => {
    const userId = await bench.user();
    await storage.saveAdapter(smallAdapter(userId));
    await bench.sql(
      `insert into lora_adapters (user_id, version, weights, size_bytes)
       select user_id, version + g, weights, size_bytes from lora_adapters, generate_series(1, 1100) g where user_id = $1`,
      [userId],
    );
    expect(await storage.pruneVersions({ keepLatest: 1, userId })).toBe(1100);
    expect((await storage.loadAdapterInfo(userId)).version).toBe(1101);
  });

  test('forgetUser leaves no row, no head, no entry, and the name can be used again', async () => {
    const userId = await bench.user();
    await storage.saveAdapter(smallAdapter(userId), 'a');
    await storage.saveAdapter(smallAdapter(userId), 'b');
    await storage.loadAdapter(userId, 'never-there').catch(() => undefined);
    expect(await storage.forgetUser(userId)).toBe(2);
    const left = await bench.sql('select from lora_adapter_heads where user_id = $1', [userId]);
    expect(left).toEqual([]);
    await expect(storage.loadAdapter(userId, 'a')).rejects.toMatchObject({ code: 'ADAPTER_NOT_FOUND' });
    expect(await storage.saveAdapter(smallAdapter(userId), 'a')).toBe(1);
    expect((await storage.loadAdapterInfo(userId, 'a')).version).toBe(1);
  });
});

describe('many at once', () => {
  test('loadAdapters answers in the order of the keys, absent ones with undefined', async () => {
    const users = await Promise.all([bench.user(), bench.user(), bench.user()]);
    await storage.saveAdapter(smallAdapter(users[0] as string, 1));
    await storage.saveAdapter(smallAdapter(users[2] as string, 3), 'x');
    const keys = [
      { userId: users[2] as string, adapterName: 'x' },
      { userId: users[1] as string },
      { userId: users[0] as string },
    ];
    for (const options of [{}, { memory: false as const }, { redis: false as const }]) {
      const node = await bench.open(options);
      for (let round = 0; round < 2; round++) {
        const [third, none, first] = await node.loadAdapters([...keys, keys[0] as (typeof keys)[0]]);
        expect(none).toBeUndefined();
        expect(third).toMatchObject({ userId: users[2] });
        expect(first).toMatchObject({ userId: users[0] });
      }
    }
    expect(await storage.loadAdapters([])).toEqual([]);
  });

  test('loadAdaptersInto fills the rows of two tensors, zeros where there is nothing', async () => {
    const [one, none, other] = [await bench.user(), await bench.user(), await bench.user()];
    await storage.saveAdapter(smallAdapter(one, 1));
    await storage.saveAdapter(new UserLoRAAdapter(other, { rank: 1, inputDim: 1, outputDim: 1 }));
    const base = new Float32Array(3 * 6).fill(7);
    const user = new Float32Array(3 * 8).fill(7);
    const keys = [{ userId: none }, { userId: one }, { userId: other }];
    expect(await storage.loadAdaptersInto(keys, base, user)).toEqual([false, true, false]);
    const expected = smallAdapter(one, 1);
    expect(base.subarray(6, 12)).toEqual(expected.baseLayerWeights.data.slice());
    expect(user.subarray(8, 16)).toEqual(expected.userLayerWeights.data.slice());
    for (const row of [base.subarray(0, 6), base.subarray(12)]) expect(row.every((x) => x === 0)).toBe(true);
    await expect(storage.loadAdaptersInto(keys, new Float32Array(4), user)).rejects.toMatchObject({
      code: 'INVALID_ADAPTER',
    });
  });

  test('loadAdaptersInto leaves out what has another shape than the rows: good bytes, of which nothing is told', async () => {
    const userId = await bench.user();
    await storage.saveAdapter(smallAdapter(userId));
    const told: unknown[] = [];
    const tell = (event: unknown) => told.push(event);
    storage.on('corrupt', tell);
    const [base, user] = [new Float32Array(9).fill(1), new Float32Array(8).fill(1)];
    expect(await storage.loadAdaptersInto([{ userId }], base, user)).toEqual([false]);
    storage.off('corrupt', tell);
    expect([...base, ...user].every((weight) => weight === 0)).toBe(true);
    expect(told).toEqual([]);
  });
});

test('retrieval latency, printed and not judged', async () => {
  const userId = await bench.user();
  await storage.saveAdapter(new UserLoRAAdapter(userId).initializeRandom(1));
  for (const [tier, options] of Object.entries({
    memory: {},
    redis: { memory: false as const },
    postgres: { memory: false as const, redis: false as const },
  })) {
    const node = await bench.open(options);
    const times: number[] = [];
    for (let i = 0; i < 200; i++) {
      const start = performance.now();
      await node.loadAdapter(userId);
      times.push(performance.now() - start);
    }
    times.sort((a, b) => a - b);
    console.log(
      `${tier.padEnd(9)} p50 ${times[100]?.toFixed(3)} ms   p99 ${times[198]?.toFixed(3)} ms   (target 2 ms)`,
    );
    expect(times).toHaveLength(200);
  }
});
