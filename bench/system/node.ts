/**
 * A node: a storage in a process of its own, as in an inference server, whom other processes ask. Called through
 * startChild(). What it reports of itself is what it took while it was asked.
 */
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import {
  type CacheStats,
  decodeAdapter,
  encodeAdapter,
  LoRAStorage,
  type LoRAStorageOptions,
  UserLoRAAdapter,
} from 'lora-store';
import { userAt } from '../harness/population.js';
import type { Distribution } from '../harness/results.js';
import type { Arrivals } from './arrivals.js';
import { type Answer, closedLoop, openLoop, type Tally } from './crowd.js';
import { type Demand, OPERATIONS, type Operation, sharedNow } from './demand.js';
import { type Cost, costMeter } from './meter.js';

/** What a stretch of requests did to a node. */
export interface Stretch {
  readonly seconds: number;
  readonly arrivals: number;
  readonly completed: number;
  readonly backlog: number;
  readonly failures: Readonly<Record<string, number>>;
  readonly latency: Readonly<Partial<Record<Operation, Distribution>>>;
  /** Share of loads that memory answered. */
  readonly hitRate: number;
  readonly cost: Cost;
}

const USER_ID_AT = 8;
const AT_ONCE = 100;

let storage: LoRAStorage;
let ids: string[] = [];
let template: Buffer;
/** Adapters that nobody else deletes: of users 0, 1, 2 and so on. */
let doomed = { adapterName: '', next: 0 };

const answers: Record<Operation, (user: number) => Promise<unknown>> = {
  load: (user) => storage.loadAdapter(ids[user] as string),
  save: (user) => storage.saveAdapter(adapterOf(user)),
  list: (user) => storage.listAdapters(ids[user] as string),
  async delete() {
    const deleted = await storage.deleteAdapter(userAt(doomed.next++), doomed.adapterName);
    if (deleted !== 1) throw new Error('there was nothing to delete');
  },
};
const answer: Answer = (operation, user) => answers[OPERATIONS[operation] as Operation](user);

export async function open(options: LoRAStorageOptions, users: number): Promise<void> {
  ids = Array.from({ length: users }, (_, i) => userAt(i));
  template = encodeAdapter(new UserLoRAAdapter(userAt(0)).initializeRandom(2));
  storage = await LoRAStorage.open(options);
}

/** Loads all users, those most asked for last: a cache that is too small keeps them. */
export async function warm(): Promise<void> {
  for (let end = ids.length; end > 0; end -= AT_ONCE) {
    const some = ids.slice(Math.max(0, end - AT_ONCE), end).reverse();
    const loaded = await storage.loadAdapters(some.map((userId) => ({ userId })));
    for (const [i, adapter] of loaded.entries()) {
      if (!(adapter instanceof UserLoRAAdapter) || adapter.userId !== some[i]) throw new Error('a wrong adapter');
    }
  }
}

export async function openLoopStretch(arrivals: Arrivals, limit: number, doomedName = ''): Promise<Stretch> {
  doomed = { adapterName: doomedName, next: 0 };
  return await measured(arrivals.seconds, () => openLoop(answer, arrivals, limit));
}

/** Requests that ask for nothing: what arriving and being timed take by themselves. */
export async function idleStretch(arrivals: Arrivals, limit: number): Promise<Stretch> {
  return await measured(arrivals.seconds, () => openLoop(async () => undefined, arrivals, limit));
}

export async function closedLoopStretch(demand: Demand, callers: number, seconds: number): Promise<Stretch> {
  return await measured(seconds, () => closedLoop(answer, demand, callers, seconds));
}

async function measured(seconds: number, run: () => Promise<Tally>): Promise<Stretch> {
  const before = storage.cacheStats();
  const cost = costMeter();
  const { samples, arrivals, completed, backlog, failures } = await run();
  const after = storage.cacheStats();
  const hits = after.memory.hits - before.memory.hits;
  const looked = hits + after.memory.misses - before.memory.misses;
  const some = OPERATIONS.map((operation, i) => [operation, samples[i]] as const).filter(([, of]) => of?.count);
  return {
    seconds,
    arrivals,
    completed,
    backlog,
    failures,
    latency: Object.fromEntries(some.map(([operation, of]) => [operation, of?.distribution()])),
    hitRate: hits / Math.max(1, looked),
    cost: cost(fetched(after) - fetched(before), template.length),
  };
}

/** Bodies that were copied out of an answer. */
function fetched({ redis, postgres }: CacheStats): number {
  return redis.hits + postgres.loads;
}

/** Bodies that came from Postgres since open(). */
export function postgresLoads(): number {
  return storage.cacheStats().postgres.loads;
}

/** Saves a new version; when it was known to be committed. */
export async function save(user: number): Promise<{ version: number; done: number }> {
  const version = await storage.saveAdapter(adapterOf(user));
  return { version, done: sharedNow() };
}

/** Asks for an adapter over and over until it is that version; when it was served, on the shared clock. */
export async function watch(user: number, version: number): Promise<number> {
  for (;;) {
    const loaded = await storage.loadAdapterInfo(ids[user] as string);
    if (loaded.version >= version) return sharedNow();
    await turn();
  }
}

/** So many callers ask for an adapter at that moment. */
export async function loadAt(user: number, callers: number, at: number): Promise<void> {
  while (sharedNow() < at) await turn();
  await Promise.all(Array.from({ length: callers }, () => storage.loadAdapter(ids[user] as string)));
}

/** One load at about that moment; resolves with how long it took, in µs. Asleep until then: many processes that spin leave none a core. */
export async function timedLoadAt(user: number, at: number): Promise<number> {
  await sleep(Math.max(0, (at - sharedNow()) / 1000));
  const begun = sharedNow();
  await storage.loadAdapter(ids[user] as string);
  return sharedNow() - begun;
}

export async function close(): Promise<void> {
  await storage.close();
}

function adapterOf(user: number): UserLoRAAdapter {
  const bytes = Buffer.from(template);
  bytes.write((ids[user] as string).replaceAll('-', ''), USER_ID_AT, 16, 'hex');
  return decodeAdapter(bytes);
}
