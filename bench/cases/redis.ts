/** What a hit in Redis costs, against the clients that only fetch the bytes and the cache one would put around them. */
import assert from 'node:assert/strict';
import { BentoCache, bentostore } from 'bentocache';
import { redisDriver } from 'bentocache/drivers/redis';
import { Redis } from 'ioredis';
import { decodeAdapter, encodeAdapter, LoRAStorage, type UserLoRAAdapter } from 'lora-store';
import { createClient, RESP_TYPES } from 'redis';
import { isAdapter, savedAdapters, takingTurns } from '../harness/adapters.js';
import type { Bench, Case } from '../harness/bench.js';

const NAME = 'default';
const COUNT = 256;

/** Of the storage's: long enough that a busy machine turns no hit into a load of Postgres. The path is the same. */
const PATIENCE = { redisTimeoutMs: 5000, maxStalenessMs: 30_000 };

/** Hundreds of calls a slice, for its p99. */
const SLICE_MS = 150;

export default {
  question: 'What does a hit in Redis cost?',
  async run(bench) {
    const [postgres, redis] = [await bench.servers.postgres(), await bench.servers.redis()];
    const options = { postgres: postgres.url, redis: redis.url, memory: false, ...PATIENCE } as const;
    const single = await LoRAStorage.open({ ...options, namespace: 'single', createMissingUsers: true });
    const half = await LoRAStorage.open({ ...options, namespace: 'half', redisEncoding: 'f16' });
    try {
      bench.doing(`saving ${COUNT} adapters`);
      const adapters = await savedAdapters(single, COUNT);
      const users = adapters.map(({ userId }) => userId);
      for (const storage of [single, half]) await untilInRedis(storage, users);
      await compare(bench, redis.url, { single, half }, adapters);
    } finally {
      await single.close();
      await half.close();
    }
    bench.note('An entry is served from Redis only while the ear (LISTEN) is live: all loads here had a live one.');
    bench.note(
      'The bare clients fetch the very keys that loadAdapter reads, check nothing and decode nothing; an entry has a header of 48 bytes.',
    );
    bench.note('BentoCache keeps JSON in its L2, so a record goes there as base64, and is decoded by decodeAdapter.');
    bench.note('BentoCache 1.6 asks for ioredis 5 and runs on 6 here, as everything else.');
    bench.note('A hit in the client-side cache of redis never leaves the process: it is no hit in Redis.');
  },
} satisfies Case;

interface Storages {
  readonly single: LoRAStorage;
  readonly half: LoRAStorage;
}

async function compare(bench: Bench, url: string, { single, half }: Storages, adapters: readonly UserLoRAAdapter[]) {
  const users = adapters.map(({ userId }) => userId);
  const keys = users.map((user) => `single:v1:{${user}}:${NAME}`);
  const check = isAdapter(adapters[0] as UserLoRAAdapter);
  const ioredis = new Redis(url);
  const value = (await ioredis.getBuffer(keys[0] as string)) as Buffer;
  // A Uint8Array is what the client-side cache makes of a Buffer.
  const same = (bytes: Uint8Array) => assert.deepEqual(Buffer.from(bytes), value);
  const connect = async (cached: boolean) => {
    // Not withTypeMapping, behind which its cache is not asked.
    const commandOptions = { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } };
    const cache = cached ? { clientSideCache: { maxEntries: 2 * COUNT } } : {};
    return await createClient({ url, RESP: 3, commandOptions, ...cache }).connect();
  };
  const [redis, caching] = [await connect(false), await connect(true)];
  const bento = new BentoCache({
    default: 'redis',
    stores: { redis: bentostore().useL2Layer(redisDriver({ connection: ioredis, prefix: 'bento' })) },
  });
  for (const adapter of adapters) {
    const base64 = encodeAdapter(adapter).toString('base64');
    await bento.set({ key: adapter.userId, value: base64, ttl: '1h' });
  }
  const hits = () => single.cacheStats().redis.hits + half.cacheStats().redis.hits;
  const before = { hits: hits(), calls: 0 };
  const load = (storage: LoRAStorage) =>
    takingTurns(users, (user) => {
      before.calls++;
      return storage.loadAdapter(user, NAME);
    });
  try {
    const { ratio } = await bench.compare({
      group: 'hit in Redis',
      sides: [
        { name: 'ioredis ping', run: () => ioredis.ping(), check: (answer: string) => assert.equal(answer, 'PONG') },
        { name: 'loadAdapter', run: load(single), check },
        { name: 'ioredis getBuffer', run: takingTurns(keys, (key) => ioredis.getBuffer(key)), check: same },
        { name: 'loadAdapter, f16', run: load(half), check: isAdapter(adapters[0] as UserLoRAAdapter, 2 ** -11) },
        { name: 'redis get, as Buffer', run: takingTurns(keys, (key) => redis.get(key)), check: same },
        { name: 'redis get, client-side cache', run: takingTurns(keys, (key) => caching.get(key)), check: same },
        {
          name: 'BentoCache L2, base64',
          run: takingTurns(users, async (key) => {
            const base64 = await bento.getOrSet({ key, factory: missing, ttl: '1h' });
            return decodeAdapter(Buffer.from(base64, 'base64'));
          }),
          check,
        },
      ],
      seconds: 0.85 * bench.secondsLeft,
      sliceMs: SLICE_MS,
    });
    assert.equal(hits() - before.hits, before.calls, 'every load was a hit in Redis');
    const [ours, bare] = ['loadAdapter', 'ioredis getBuffer'];
    bench.target('Redis hit / bare ioredis getBuffer, p50', '<=', 1.1, ratio(ours, bare, 'p50'));
    bench.target('Redis hit / bare ioredis getBuffer, p99', '<=', 1.3, ratio(ours, bare, 'p99'));
    bench.target('Redis hit / BentoCache L2 hit, p50', '<=', 0.5, ratio(ours, 'BentoCache L2, base64', 'p50'));
    ratio('loadAdapter, f16', bare, 'p50');
    ratio(ours, 'redis get, as Buffer', 'p50');
    ratio(ours, 'ioredis ping', 'p50');
  } finally {
    await bento.disconnectAll();
    redis.destroy();
    caching.destroy();
  }
}

/** A save writes to Redis behind its caller's back, and so does a load that had to ask Postgres. */
async function untilInRedis(storage: LoRAStorage, users: readonly string[]): Promise<void> {
  for (const user of users) {
    const until = performance.now() + 10_000;
    while ((await storage.loadAdapterInfo(user, NAME)).tier !== 'redis') {
      if (performance.now() > until) throw new Error('Redis does not keep what was loaded');
    }
  }
}

function missing(): never {
  throw new Error('this was meant to be a hit');
}
