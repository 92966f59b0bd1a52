/** What an entry takes in Redis, by INFO memory: keys, values, dictionaries and what the allocator rounds up. */
import { Redis } from 'ioredis';
import { AdapterNotFoundError, LoRAStorage } from 'lora-store';
import { waitFor } from '../../test/support/wait.js';
import { userAt } from '../harness/population.js';
import type { Constants } from './constants.js';
import { PATIENCE } from './loads.js';
import type { Population } from './population.js';

const AT_ONCE = 8;
/** They are small beside the buffers of a connection, which come and go. */
const TIMES_ABSENT = 10;

export async function measureRedis(of: Population, url: string, entries: number): Promise<Partial<Constants>> {
  const options = { postgres: of.url, redis: url, memory: false, ...PATIENCE } as const;
  const bytes = async (namespace: string, more: object, count = entries, first = 0) => {
    const storage = await LoRAStorage.open({ ...options, namespace, ...more });
    try {
      return await untilInRedis(storage, url, namespace, count, first);
    } finally {
      await storage.close();
    }
  };
  return {
    redisBytes: await bytes('single', {}),
    redisHalfBytes: await bytes('half', { redisEncoding: 'f16' }),
    redisAbsentBytes: await bytes('absent', {}, TIMES_ABSENT * entries, of.users),
  };
}

/** Loads users from `first` on until Redis has an entry of each; by how much it grew, by entry. Those behind the last user are absent. */
export async function untilInRedis(
  storage: LoRAStorage,
  url: string,
  namespace: string,
  entries: number,
  first = 0,
): Promise<number> {
  const redis = new Redis(url);
  try {
    const before = await usedMemory(redis);
    const size = await redis.dbsize();
    await waitFor(
      async () => {
        let next = first;
        const loader = async () => {
          while (next < first + entries) await storage.loadAdapter(userAt(next++)).catch(unlessAbsent);
        };
        await Promise.all(Array.from({ length: AT_ONCE }, loader));
        return (await redis.dbsize()) - size >= entries;
      },
      { timeoutMs: 120_000, intervalMs: 100, what: `${entries} entries of ${namespace} in Redis` },
    );
    return ((await usedMemory(redis)) - before) / entries;
  } finally {
    redis.disconnect();
  }
}

function unlessAbsent(error: Error): void {
  if (!(error instanceof AdapterNotFoundError)) throw error;
}

async function usedMemory(redis: Redis): Promise<number> {
  return Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))?.[1]);
}
