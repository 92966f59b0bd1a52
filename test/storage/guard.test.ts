/**
 * What a caller does to an adapter he loaded reaches no other caller and no cache, by whichever typed way; and what code
 * without types writes to shared weights is found and named under LORA_STORE_GUARD=1.
 */
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { UserLoRAAdapter } from '../../src/adapter/adapter.js';
import { encodeAdapter } from '../../src/adapter/codec.js';
import { SharedWeightsError } from '../../src/errors.js';
import type { LoRAStorage } from '../../src/storage/lora-storage.js';
import { smallAdapter, useStorage } from '../support/storage.js';
import { waitFor } from '../support/wait.js';

const bench = useStorage();

/** The variable is read when a storage opens, and no more. */
async function guarded(options = {}): Promise<LoRAStorage> {
  vi.stubEnv('LORA_STORE_GUARD', '1');
  const node = await bench.open(options);
  vi.unstubAllEnvs();
  return node;
}
afterEach(() => void vi.unstubAllEnvs());

/** Everything a caller sees of an adapter. */
const seen = (adapter: UserLoRAAdapter) => ({
  bytes: encodeAdapter(adapter).toString('hex'),
  lastTrained: adapter.lastTrainedTime.getTime(),
});

const ways: [string, (adapter: UserLoRAAdapter) => unknown][] = [
  ['its Date', (adapter) => adapter.lastTrainedTime.setTime(0)],
  ['lastTrainedTime', (adapter) => Object.assign(adapter, { lastTrainedTime: new Date(1) })],
  ['trainingIterations', (adapter) => adapter.trainingIterations++],
  ['updateWeights', (adapter) => adapter.updateWeights((base, user) => void [base.fill(1), user.fill(2)])],
  ['initializeRandom', (adapter) => adapter.initializeRandom(99)],
  ['an update that fails', (adapter) => expect(() => adapter.updateWeights(fillAndFail)).toThrow('diverged')],
  [
    'a clone',
    (adapter) =>
      adapter
        .clone()
        .updateWeights((base) => void base.fill(3))
        .lastTrainedTime.setTime(2),
  ],
  [
    'arrays of copyWeightsTo',
    (adapter) => {
      const [base, user] = [new Float32Array(6), new Float32Array(8)];
      adapter.copyWeightsTo(base, user);
      return [base.fill(4), user.fill(4)];
    },
  ],
  ['a slice of a matrix', (adapter) => adapter.baseLayerWeights.data.subarray(1).slice().fill(5)],
  ['the output of forward', (adapter) => adapter.forward(new Float32Array(3).fill(1)).fill(6)],
];

function fillAndFail(base: Float32Array): void {
  base.fill(7);
  throw new Error('diverged');
}

/** Each way to come by an adapter: of all of them, at once and one after the other. */
async function loaded(node: LoRAStorage, userId: string): Promise<UserLoRAAdapter[]> {
  const load = () => [
    node.loadAdapter(userId),
    node.loadAdapter(userId),
    node.loadAdapterInfo(userId).then(({ adapter }) => adapter),
    node.loadAdapters([{ userId }, { userId }]).then((both) => both as UserLoRAAdapter[]),
    node.loadAdapterVersion(userId, 'default', 1),
    node.loadAdapterOr(userId, 'default', () => expect.unreachable()),
  ];
  // The first of them share a flight, the others find it in memory.
  const adapters = [...(await Promise.all(load())), ...(await Promise.all(load())), node.peekAdapter(userId)].flat();
  expect(new Set(adapters).size).toBe(15);
  return adapters as UserLoRAAdapter[];
}

describe.each([
  ['LORA_STORE_GUARD=1', guarded],
  ['no guard', bench.open],
])('%s', (_guard, open) => {
  test.each(ways)('what a caller does with %s is his own', async (_way, change) => {
    const userId = await bench.user();
    const saver = await bench.open({ redis: false, maxStalenessMs: 60_000 });
    const saved = smallAdapter(userId);
    await saver.saveAdapter(saved);
    const node = await open({ redis: false, maxStalenessMs: 60_000 });
    const adapters = await loaded(node, userId);
    const before = seen(adapters[0] as UserLoRAAdapter);
    for (const [i, adapter] of adapters.entries()) {
      expect(seen(adapter)).toEqual(before);
      change(adapter);
      for (const other of adapters.slice(i + 1)) expect(seen(other)).toEqual(before);
    }
    // Whoever saved it goes on with his own as well.
    change(saved);
    for (const cache of [node, saver]) {
      const adapter = cache.peekAdapter(userId) as UserLoRAAdapter;
      expect(seen(adapter)).toEqual(before);
      expect((await cache.loadAdapterInfo(userId)).tier).toBe('memory');
    }
    const [row] = await bench.sql<{ weights: Buffer }>('select weights from lora_adapters where user_id = $1', [
      userId,
    ]);
    expect(row?.weights.toString('hex')).toBe(before.bytes);
  });
});

/** As a program without types may, or one that casts. */
function scribble(adapter: UserLoRAAdapter): void {
  (adapter.baseLayerWeights.data as Float32Array)[0] = 123;
}

const calls: [string, (node: LoRAStorage, userId: string) => unknown][] = [
  ['peekAdapter', (node, userId) => node.peekAdapter(userId)],
  ['loadAdapter', (node, userId) => node.loadAdapter(userId)],
  ['loadAdapterInfo', (node, userId) => node.loadAdapterInfo(userId)],
  ['loadAdapters', (node, userId) => node.loadAdapters([{ userId }])],
  ['loadAdapterVersion', (node, userId) => node.loadAdapterVersion(userId, 'default', 1)],
];

describe('weights that were written to past the types', () => {
  async function scribbled(node: LoRAStorage, name = 'ranker') {
    const userId = await bench.user();
    await node.saveAdapter(smallAdapter(userId), name);
    scribble(await node.loadAdapter(userId, name));
    return userId;
  }

  test('are served to the next caller where nobody guards: that is why there is a guard', async () => {
    const node = await bench.open({ redis: false });
    const userId = await scribbled(node);
    expect(node.peekAdapter(userId, 'ranker')?.baseLayerWeights.data[0]).toBe(123);
  });

  test.each(calls)('are named by %s, dropped, and right again in the next call', async (_name, call) => {
    const node = await guarded({ redis: false });
    const told: unknown[] = [];
    node.on('corrupt', (event) => told.push(event));
    const userId = await scribbled(node, 'default');
    const error: Error = await (async () => call(node, userId))().then(
      () => expect.unreachable(),
      (reason) => reason,
    );
    expect(error).toBeInstanceOf(SharedWeightsError);
    expect(error).toMatchObject({ code: 'SHARED_WEIGHTS_WRITTEN', userId, adapterName: 'default' });
    expect(error.message).toContain(`adapter 'default' of user ${userId}`);
    expect(error.message).toContain('updateWeights()');
    expect(told).toEqual([{ userId, adapterName: 'default', tier: 'memory', reason: error.message }]);
    expect(node.cacheStats().memory).toMatchObject({ entries: 0, bytes: 0 });
    const { adapter, tier } = await node.loadAdapterInfo(userId);
    expect([tier, seen(adapter).bytes]).toEqual(['postgres', seen(smallAdapter(userId)).bytes]);
    expect(node.peekAdapter(userId)?.userId).toBe(userId);
    expect(told).toHaveLength(1);
  });

  test('loadAdapterOr falls back, and says why', async () => {
    const node = await guarded({ redis: false });
    const causes: Error[] = [];
    node.on('fallback', ({ cause }) => causes.push(cause));
    const userId = await scribbled(node, 'default');
    const fallback = smallAdapter(userId, 2);
    expect(await node.loadAdapterOr(userId, 'default', () => fallback)).toBe(fallback);
    expect(causes[0]).toBeInstanceOf(SharedWeightsError);
  });

  test('are not verified either: an entry whose head has to be asked for is summed up all the same', async () => {
    const node = await guarded({ redis: false, changeFeed: false, maxStalenessMs: 50 });
    const userId = await bench.user();
    await node.saveAdapter(smallAdapter(userId));
    const adapter = await node.loadAdapter(userId);
    await waitFor(() => node.peekAdapter(userId) === undefined);
    scribble(adapter);
    await expect(node.loadAdapter(userId)).rejects.toThrow(SharedWeightsError);
    expect((await node.loadAdapterInfo(userId)).tier).toBe('postgres');
  });

  test('word of a newer version is heard over them: it only drops what is held', async () => {
    const node = await guarded();
    const userId = await scribbled(node, 'default');
    const other = await bench.open();
    const heard = new Promise((resolve) => node.on('invalidated', resolve));
    await other.saveAdapter(smallAdapter(userId, 2));
    await heard;
    expect((await node.loadAdapterInfo(userId)).version).toBe(2);
  });
});
