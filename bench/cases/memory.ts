/** What a hit in memory costs, against the maps and caches one would write by hand or install. */
import assert from 'node:assert/strict';
import { BentoCache, bentostore } from 'bentocache';
import { memoryDriver } from 'bentocache/drivers/memory';
import { Cacheable, createKeyv } from 'cacheable';
import { LoRAStorage, type UserLoRAAdapter } from 'lora-store';
import { LRUCache } from 'lru-cache';
import { savedAdapters } from '../harness/adapters.js';
import type { Bench, Case } from '../harness/bench.js';
import { nothing } from '../harness/side.js';

const NAME = 'default';

/** The same for every side; a power of two of them, so that taking the next costs one AND. */
interface Keys {
  readonly mask: number;
  readonly users: readonly string[];
  readonly joined: readonly string[];
}

export default {
  question: 'What does a hit in memory cost?',
  async run(bench) {
    const { url } = await bench.servers.postgres();
    // A slice lets no heartbeat in, and on a busy machine Postgres is late to answer one: a hit costs the same for that.
    const patience = { maxStalenessMs: 30_000, postgresTimeoutMs: 30_000 };
    const storage = await LoRAStorage.open({ postgres: url, redis: false, createMissingUsers: true, ...patience });
    try {
      const count = bench.quick ? 256 : 1024;
      bench.doing(`saving ${count} adapters`);
      const adapters = await savedAdapters(storage, count);
      const users = adapters.map(({ userId }) => userId);
      const keys = { mask: count - 1, users, joined: users.map((user) => `${user}:${NAME}`) };
      const { misses } = storage.cacheStats().memory;
      await synchronous(bench, storage, keys, adapters);
      await awaited(bench, storage, keys, adapters);
      assert.equal(storage.cacheStats().memory.misses, misses, 'every load was a hit');
    } finally {
      await storage.close();
    }
    bench.note('BentoCache keeps values as they are here (serialize: false), and so does cacheable (useClone: false).');
    bench.note(
      'peekAdapter reads the clock on each call, because an entry may be too old; a Map and lru-cache without a TTL do not.',
    );
  },
} satisfies Case;

async function synchronous(bench: Bench, storage: LoRAStorage, keys: Keys, adapters: readonly UserLoRAAdapter[]) {
  const { mask, users, joined } = keys;
  const map = new Map(joined.map((key, i) => [key, adapters[i]]));
  const lru = new LRUCache<string, UserLoRAAdapter>({ max: 2 * joined.length });
  for (const [i, key] of joined.entries()) lru.set(key, adapters[i] as UserLoRAAdapter);
  const check = firstOf(adapters);
  // Written out side by side: a function that they shared would be compiled for all of them, and for none.
  let [a, b, c, d] = [-1, -1, -1, -1];
  const { ratio } = await bench.compare({
    group: 'hit, synchronous',
    sides: [
      nothing,
      { name: 'performance.now', run: () => performance.now(), check: (now: number) => assert.ok(now > 0) },
      {
        name: 'Map.get, key at hand',
        run() {
          a = (a + 1) & mask;
          return map.get(joined[a] as string);
        },
        check,
      },
      {
        name: 'lru-cache get, key at hand',
        run() {
          b = (b + 1) & mask;
          return lru.get(joined[b] as string);
        },
        check,
      },
      {
        name: 'lru-cache get, key joined',
        run() {
          c = (c + 1) & mask;
          return lru.get(`${users[c]}:${NAME}`);
        },
        check,
      },
      {
        name: 'peekAdapter',
        run() {
          d = (d + 1) & mask;
          return storage.peekAdapter(users[d] as string, NAME) ?? missing();
        },
        check,
      },
    ],
    seconds: 0.35 * bench.seconds,
    heap: true,
  });
  bench.target(
    'peekAdapter / lru-cache get with a key string built beforehand',
    '<=',
    3,
    ratio('peekAdapter', 'lru-cache get, key at hand'),
  );
  ratio('peekAdapter', 'lru-cache get, key joined');
  ratio('peekAdapter', 'Map.get, key at hand');
}

async function awaited(bench: Bench, storage: LoRAStorage, keys: Keys, adapters: readonly UserLoRAAdapter[]) {
  const { mask, users, joined } = keys;
  const bento = new BentoCache({
    default: 'memory',
    stores: { memory: bentostore().useL1Layer(memoryDriver({ maxItems: 2 * joined.length, serialize: false })) },
  });
  const cacheable = new Cacheable({ primary: createKeyv({ useClone: false, lruSize: 2 * joined.length }) });
  for (const [i, key] of joined.entries()) {
    await bento.set({ key, value: adapters[i], ttl: '1h' });
    await cacheable.set(key, adapters[i], '1h');
  }
  const factory = () => missing();
  const check = firstOf(adapters);
  let [a, b, c, d] = [-1, -1, -1, -1];
  try {
    const { ratio } = await bench.compare({
      group: 'hit, awaited',
      awaited: 'batches',
      sides: [
        { name: 'a promise of nothing', run: async () => undefined, check: nothing.check },
        {
          name: 'loadAdapter',
          run() {
            a = (a + 1) & mask;
            return storage.loadAdapter(users[a] as string, NAME);
          },
          check,
        },
        {
          name: 'BentoCache getOrSet',
          run() {
            b = (b + 1) & mask;
            return bento.getOrSet({ key: joined[b] as string, factory, ttl: '1h' });
          },
          check,
        },
        {
          name: 'cacheable get',
          run() {
            c = (c + 1) & mask;
            return cacheable.get(joined[c] as string);
          },
          check,
        },
        {
          name: 'cacheable getOrSet',
          run() {
            d = (d + 1) & mask;
            return cacheable.getOrSet(joined[d] as string, factory, { ttl: '1h' });
          },
          check,
        },
      ],
      seconds: 0.35 * bench.seconds,
      heap: true,
    });
    bench.target('awaited memory hit / BentoCache memory hit', '<=', 0.15, ratio('loadAdapter', 'BentoCache getOrSet'));
    ratio('loadAdapter', 'cacheable get');
    ratio('loadAdapter', 'a promise of nothing');
  } finally {
    await bento.disconnectAll();
    await cacheable.disconnect();
  }
}

/** The first that a side gives is that of the first user. */
function firstOf([first]: readonly UserLoRAAdapter[]) {
  return (answer: UserLoRAAdapter) => {
    assert.equal(answer.userId, first?.userId);
    assert.deepEqual(answer.baseLayerWeights, first?.baseLayerWeights);
  };
}

function missing(): never {
  throw new Error('this was meant to be a hit');
}
