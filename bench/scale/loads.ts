/** What a load costs at a population: from Postgres, from Redis, from memory, and from Postgres when its pages are on the disk alone. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { LoRAStorage, type UserLoRAAdapter } from 'lora-store';
import { takingTurns } from '../harness/adapters.js';
import type { Bench } from '../harness/bench.js';
import { userAt, withClient } from '../harness/population.js';
import type { LocalSide } from '../harness/side.js';
import type { Constants } from './constants.js';
import { drawn, type Population } from './population.js';
import { untilInRedis } from './redis.js';
import { stretch, tell } from './stretch.js';
import { postgresUsage } from './usage.js';

/** Of the storages: long enough that a busy machine turns no hit into a load of Postgres. The path is the same. */
export const PATIENCE = { redisTimeoutMs: 5_000, maxStalenessMs: 30_000, postgresTimeoutMs: 60_000 };

const DRAWS = 65_536;
const AT_ONCE = 8;

export interface LoadPlan {
  readonly redis: string;
  /** Users whose adapters are in Redis and, of those, in memory. */
  readonly inRedis: number;
  readonly inMemory: number;
  readonly seconds: number;
}

type Found = Partial<Constants>;

export async function measureLoads(bench: Bench, of: Population, plan: LoadPlan): Promise<Found> {
  const { seconds } = plan;
  const options = { postgres: of.url, ...PATIENCE };
  const cold = await LoRAStorage.open({ ...options, redis: false, memory: false });
  const shared = await LoRAStorage.open({ ...options, redis: plan.redis, namespace: of.name, memory: false });
  const warm = await LoRAStorage.open({ ...options, redis: false, memory: { maxBytes: 2 ** 30 } });
  try {
    bench.doing(`${of.name}: Redis and memory are filled`);
    await untilInRedis(shared, plan.redis, of.name, plan.inRedis);
    await intoMemory(warm, plan.inMemory);
    const group = `${of.name}, ${of.users.toLocaleString('en-US')} users`;
    const before = shared.cacheStats();
    const sides = (['uniform', 'Zipf'] as const).flatMap((how, seed) => [
      sideOf(`Postgres, ${how}`, cold, drawn(of.users, how, DRAWS, seed)),
      sideOf(`Redis, ${how} of ${plan.inRedis.toLocaleString('en-US')}`, shared, drawn(plan.inRedis, how, DRAWS, seed)),
    ]);
    await bench.compare({ group: `${group}: a load, one at a time`, sides, seconds: 6 * seconds, sliceMs: 150 });
    const memory = (['uniform', 'Zipf'] as const).map((how, seed) =>
      sideOf(
        `memory, ${how} of ${plan.inMemory.toLocaleString('en-US')}`,
        warm,
        drawn(plan.inMemory, how, DRAWS, seed),
      ),
    );
    const hits = await bench.compare({
      group: `${group}: a hit in memory`,
      sides: memory,
      seconds,
      awaited: 'batches',
    });
    const found = {
      memoryHitUs: hits.sides[0]?.latency.p50 as number,
      ...(await postgresCpu(bench, group, of, cold, seconds)),
      ...(await redisCpu(bench, group, plan, shared, seconds)),
    };
    // What a load of Postgres cost would otherwise stand there as a hit.
    assert.equal(shared.cacheStats().postgres.loads, before.postgres.loads, 'a hit in Redis was none');
    assert.equal(warm.cacheStats().postgres.loads, plan.inMemory, 'a hit in memory was none');
    return { ...found, ...(await fromDisk(bench, group, of, cold, seconds)) };
  } finally {
    for (const storage of [cold, shared, warm]) await storage.close();
  }
}

function sideOf(name: string, storage: LoRAStorage, users: readonly string[]): LocalSide {
  let asked = '';
  return {
    name,
    run: takingTurns(users, (user) => {
      asked = user;
      return storage.loadAdapter(user);
    }),
    check: (adapter: UserLoRAAdapter) => assert.equal(adapter.userId, asked),
  };
}

async function intoMemory(storage: LoRAStorage, users: number): Promise<void> {
  let next = 0;
  const loader = async () => {
    while (next < users) await storage.loadAdapter(userAt(next++));
  };
  await Promise.all(Array.from({ length: AT_ONCE }, loader));
}

async function postgresCpu(
  bench: Bench,
  group: string,
  of: Population,
  storage: LoRAStorage,
  seconds: number,
): Promise<Found> {
  bench.doing(`${group}: CPU of loads from Postgres`);
  const next = takingTurns(drawn(of.users, 'uniform', DRAWS, 7), (user) => storage.loadAdapter(user));
  const usage = await postgresUsage(of.url);
  const measured = await stretch(AT_ONCE, 2 * seconds, next);
  const used = await usage();
  tell(bench, `${group}: ${AT_ONCE} at once`, 'Postgres, uniform', measured);
  if (used === undefined) return { postgresLoadNodeUs: measured.nodeUs };
  return { postgresLoadNodeUs: measured.nodeUs, postgresLoadPostgresUs: used.cpuMicroseconds / measured.samples.count };
}

async function redisCpu(
  bench: Bench,
  group: string,
  plan: LoadPlan,
  storage: LoRAStorage,
  seconds: number,
): Promise<Found> {
  bench.doing(`${group}: CPU of hits in Redis`);
  const redis = new Redis(plan.redis);
  try {
    const next = takingTurns(drawn(plan.inRedis, 'uniform', DRAWS, 7), (user) => storage.loadAdapter(user));
    const before = await cpuOf(redis);
    const measured = await stretch(AT_ONCE, 2 * seconds, next);
    const used = (await cpuOf(redis)) - before;
    tell(bench, `${group}: ${AT_ONCE} at once`, 'Redis, uniform', measured);
    return { redisHitNodeUs: measured.nodeUs, redisHitRedisUs: used / measured.samples.count };
  } finally {
    redis.disconnect();
  }
}

async function cpuOf(redis: Redis): Promise<number> {
  const info = await redis.info('cpu');
  const seconds = (name: string) => Number(new RegExp(`^used_cpu_${name}:([\\d.]+)`, 'm').exec(info)?.[1]);
  return 1e6 * (seconds('user') + seconds('sys'));
}

/** What is neither in shared_buffers, which are small here, nor in the kernel's cache any more. */
async function fromDisk(
  bench: Bench,
  group: string,
  of: Population,
  storage: LoRAStorage,
  seconds: number,
): Promise<Found> {
  bench.doing(`${group}: the kernel is asked to forget the files`);
  const refused = await forgetFiles(of.url);
  if (refused !== undefined) {
    bench.note(`${of.name}: no load was measured whose pages are on the disk alone: ${refused}.`);
    return {};
  }
  const next = takingTurns(drawn(of.users, 'uniform', DRAWS, 8), (user) => storage.loadAdapter(user));
  const usage = await postgresUsage(of.url);
  const measured = await stretch(1, 2 * seconds, next);
  const used = await usage();
  tell(bench, `${group}: a load, one at a time`, 'Postgres, uniform, from the disk', measured);
  if (used === undefined) return {};
  return { diskBytesPerLoad: used.diskBytes / measured.samples.count };
}

/** Or why they could not be forgotten. dd of GNU does it without a right of its own; what is dirty stays. */
export async function forgetFiles(url: string): Promise<string | undefined> {
  try {
    const directory = await withClient(url, async (client) => {
      await client.query('checkpoint');
      const { rows } = await client.query<{ path: string }>(
        `select current_setting('data_directory') || '/base/' || oid as path from pg_database where datname = current_database()`,
      );
      return rows[0]?.path as string;
    });
    execFileSync('sync', ['-f', directory]);
    for (const file of readdirSync(directory))
      execFileSync('dd', [`if=${join(directory, file)}`, 'iflag=nocache', 'count=0', 'status=none'], { stdio: 'pipe' });
    return undefined;
  } catch (error) {
    return (error as Error).message.split('\n')[0];
  }
}
