/**
 * One load: memory if its entry counts; otherwise one flight per key, which asks Redis, then Postgres (only for the head
 * where a cached body may still be the latest), and leaves what it found in the tiers above, behind their fences.
 */
import { Flights } from '../coherence/flight.js';
import type { Coherence } from '../coherence/head.js';
import type { Key } from '../coherence/key.js';
import { type AskPostgres, LoadSteps, type Next, type Serve } from '../coherence/load.js';
import { AdapterCorruptError, StorageUnavailableError } from '../errors.js';
import type { Entry } from '../tiers/entry.js';
import type { MemoryTier } from '../tiers/memory.js';
import type { PostgresTier } from '../tiers/postgres.js';
import type { RedisAnswer, RedisTier } from '../tiers/redis.js';
import type { Events, Tier } from './events.js';
import type { Tasks } from './tasks.js';

export interface Loaded {
  readonly entry: Entry;
  /** Where its bytes came from. */
  readonly tier: Tier;
  /** Served although it could not be verified. */
  readonly stale: boolean;
}

interface Parts {
  readonly coherence: Coherence;
  readonly memory: MemoryTier | undefined;
  readonly redis: RedisTier | undefined;
  readonly postgres: PostgresTier;
  readonly events: Events;
  readonly tasks: Tasks;
  /** What is remembered of revisions was dropped: the ear has to note a new horizon. */
  readonly renewHorizon: () => void;
  readonly maxStalenessMs: number;
  readonly staleIfErrorMs: number;
}

type Steps = LoadSteps<Entry, Buffer>;

interface Asking {
  readonly key: Key;
  readonly steps: Steps;
  readonly next: AskPostgres<Entry>;
}

export class Loader {
  readonly #parts: Parts;
  readonly #flights: Flights<Loaded>;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#flights = new Flights(parts.maxStalenessMs);
  }

  get coalesced(): number {
    return this.#flights.coalesced;
  }

  /** An adapter that memory may serve now, counted as a hit; undefined where load() has to be asked. */
  hit(userId: string, adapterName: string): Entry | undefined {
    const entry = this.peek(userId, adapterName);
    if (entry?.record === undefined) return undefined;
    if (this.#parts.memory !== undefined) this.#parts.memory.hits++;
    return entry;
  }

  /** What memory may serve now. No I/O, no promise. */
  peek(userId: string, adapterName: string): Entry | undefined {
    const { memory, coherence } = this.#parts;
    const entry = memory?.get(userId, adapterName);
    return entry !== undefined && coherence.counts(entry, performance.now()) ? entry : undefined;
  }

  /** From memory, or from the flight for this key. */
  load(key: Key, signal?: AbortSignal): Promise<Loaded> {
    const { memory, tasks } = this.#parts;
    if (signal?.aborted) return Promise.reject(signal.reason);
    const entry = this.peek(key.userId, key.adapterName);
    if (memory !== undefined) entry === undefined ? memory.misses++ : memory.hits++;
    if (entry !== undefined) return Promise.resolve({ entry, tier: 'memory', stale: false });
    return this.#flights.join(key.id, () => tasks.track(this.#fetch(key)), signal);
  }

  /** One round trip per tier for all. result[i] answers keys[i]; a key given twice is asked for once. */
  async loadMany(keys: readonly Key[]): Promise<(Loaded | AdapterCorruptError)[]> {
    const { memory } = this.#parts;
    const answers = new Map<string, Loaded | AdapterCorruptError>();
    const missing: Key[] = [];
    for (const key of new Map(keys.map((key) => [key.id, key])).values()) {
      const entry = this.peek(key.userId, key.adapterName);
      if (memory !== undefined) entry === undefined ? memory.misses++ : memory.hits++;
      if (entry === undefined) missing.push(key);
      else answers.set(key.id, { entry, tier: 'memory', stale: false });
    }

    const asking: Asking[] = [];
    for (const { key, steps, next } of await this.#readRedis(missing)) {
      // readMany leaves tokens by itself: where it could not, there is none.
      const then = next.do === 'claim' ? steps.claimed(undefined, performance.now()) : next;
      if (then.do === 'ask postgres') asking.push({ key, steps, next: then });
      else if (then.do === 'serve') answers.set(key.id, this.#fromRedis(key, then));
    }
    if (asking.length > 0) {
      const loaded = await this.#askPostgres(asking);
      for (const [i, { key }] of asking.entries()) answers.set(key.id, loaded[i] as Loaded | AdapterCorruptError);
    }
    return keys.map((key) => answers.get(key.id) as Loaded | AdapterCorruptError);
  }

  /** Later loads of this key start a flight of their own. */
  detach(key: Key): void {
    this.#flights.detach(key.id);
  }

  async #fetch(key: Key): Promise<Loaded> {
    const { redis, postgres } = this.#parts;
    const steps = this.#steps(key);
    let next = steps.begin(performance.now());
    if (next.do === 'read redis' && redis !== undefined)
      next = steps.redisAnswered(await redis.read(key), performance.now());
    if (next.do === 'claim' && redis !== undefined) next = steps.claimed(await redis.claim(key), performance.now());
    if (next.do === 'serve') return this.#fromRedis(key, next);
    const asking = next as AskPostgres<Entry>;
    try {
      const entry = await postgres.load(key, asking.held, asking.asked);
      return this.#arrived(key, asking, steps.postgresAnswered(entry, performance.now()));
    } catch (error) {
      const stale = error instanceof StorageUnavailableError ? steps.postgresUnavailable(performance.now()) : undefined;
      if (stale !== undefined) return stale;
      if (error instanceof AdapterCorruptError) this.#corrupt(key, error);
      throw error;
    }
  }

  /** The Redis half of loadMany, for keys that memory cannot serve. */
  async #readRedis(keys: readonly Key[]): Promise<{ key: Key; steps: Steps; next: Next<Entry, Buffer> }[]> {
    const now = performance.now();
    const begun = keys.map((key) => {
      const steps = this.#steps(key);
      return { key, steps, next: steps.begin(now) };
    });
    const reading = begun.filter(({ next }) => next.do === 'read redis');
    const found =
      reading.length === 0 ? [] : ((await this.#parts.redis?.readMany(reading.map(({ key }) => key))) ?? []);
    for (const [i, read] of reading.entries()) {
      read.next = read.steps.redisAnswered(found[i] as RedisAnswer, performance.now());
    }
    return begun;
  }

  /** The Postgres half of loadMany. */
  async #askPostgres(asking: readonly Asking[]): Promise<(Loaded | AdapterCorruptError)[]> {
    try {
      const entries = await this.#parts.postgres.loadMany(
        asking.map(({ key }) => key),
        asking.map(({ next }) => next.held),
        (asking[0] as Asking).next.asked,
      );
      return entries.map((entry, i) => {
        const { key, steps, next } = asking[i] as Asking;
        if (!(entry instanceof AdapterCorruptError))
          return this.#arrived(key, next, steps.postgresAnswered(entry, performance.now()));
        this.#corrupt(key, entry);
        return entry;
      });
    } catch (error) {
      const stale = asking.map(({ steps }) => steps.postgresUnavailable(performance.now()));
      if (error instanceof StorageUnavailableError && !stale.includes(undefined)) return stale as Loaded[];
      throw error;
    }
  }

  #steps(key: Key): Steps {
    const { coherence, memory, redis, maxStalenessMs, staleIfErrorMs } = this.#parts;
    return new LoadSteps(key, coherence, memory, { redis: redis !== undefined, maxStalenessMs, staleIfErrorMs });
  }

  #fromRedis(key: Key, served: Serve<Entry, Buffer>): Loaded {
    this.#serving(key, served);
    if (this.#parts.redis !== undefined) this.#parts.redis.hits++;
    return served;
  }

  /** Postgres answered: counts whether what Redis held was of use, and leaves there what the steps say. */
  #arrived(key: Key, asking: AskPostgres<Entry>, served: Serve<Entry, Buffer>): Loaded {
    const { redis, tasks } = this.#parts;
    const { entry, tier, leave } = served;
    this.#serving(key, served);
    if (redis === undefined) return served;
    if (asking.tier === 'redis') {
      if (tier === 'redis') redis.hits++;
      else if (asking.held !== undefined) redis.misses++;
    }
    if (leave !== undefined) {
      tasks.track(leave.how === 'restamp' ? redis.restamp(key, leave.seen, entry) : redis.fill(key, leave.seen, entry));
    }
    return served;
  }

  /** Nobody who comes later may be given something older. */
  #serving(key: Key, { news }: Serve<Entry, Buffer>): void {
    if (news === undefined) return;
    this.detach(key);
    if (news.renew) this.#parts.renewHorizon();
  }

  #corrupt(key: Key, error: AdapterCorruptError): void {
    const { userId, adapterName } = key;
    this.#parts.events.emit('corrupt', { userId, adapterName, tier: 'postgres', reason: error.reason });
  }
}
