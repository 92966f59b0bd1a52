/**
 * One load: memory if its entry counts; otherwise one flight per key, which asks Redis, then Postgres (only for the head
 * where a cached body may still be the latest), and leaves what it found in the tiers above, behind their fences.
 */
import { Flights } from '../coherence/flight.js';
import type { Coherence } from '../coherence/head.js';
import type { Key } from '../coherence/key.js';
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
  readonly maxStalenessMs: number;
  readonly staleIfErrorMs: number;
}

/** A body that may still be the latest, and what a fill of Redis may go over. */
interface Candidate {
  readonly held: Entry | undefined;
  readonly tier: Tier;
  readonly seen: Buffer | undefined;
  /** Of what Redis holds: a fill must not go back behind it. */
  readonly seenRevision: number;
}

export class Loader {
  readonly #parts: Parts;
  readonly #flights = new Flights<Loaded>();

  constructor(parts: Parts) {
    this.#parts = parts;
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
    const { memory, redis } = this.#parts;
    const answers = new Map<string, Loaded | AdapterCorruptError>();
    const missing: Key[] = [];
    for (const key of new Map(keys.map((key) => [key.id, key])).values()) {
      const entry = this.peek(key.userId, key.adapterName);
      if (memory !== undefined) entry === undefined ? memory.misses++ : memory.hits++;
      if (entry === undefined) missing.push(key);
      else answers.set(key.id, { entry, tier: 'memory', stale: false });
    }

    const unheld = missing.filter((key) => memory?.get(key.userId, key.adapterName) === undefined);
    const found = new Map<string, RedisAnswer>();
    if (redis !== undefined && unheld.length > 0) {
      const read = await redis.readMany(unheld);
      for (const [i, key] of unheld.entries()) found.set(key.id, read[i] as RedisAnswer);
    }

    const asked: Key[] = [];
    for (const key of missing) {
      const served = this.#fromRedis(key, found.get(key.id));
      if (served === undefined) asked.push(key);
      else answers.set(key.id, served);
    }
    if (asked.length > 0) {
      const loaded = await this.#askPostgres(asked, found);
      for (const [i, key] of asked.entries()) answers.set(key.id, loaded[i] as Loaded | AdapterCorruptError);
    }
    return keys.map((key) => answers.get(key.id) as Loaded | AdapterCorruptError);
  }

  /** Later loads of this key start a flight of their own. */
  detach(key: Key): void {
    this.#flights.detach(key.id);
  }

  async #fetch(key: Key): Promise<Loaded> {
    const { memory, redis, coherence } = this.#parts;
    const held = memory?.get(key.userId, key.adapterName);
    const answer = held === undefined ? await redis?.read(key) : undefined;
    const served = this.#fromRedis(key, answer);
    if (served !== undefined) return served;

    const seen = answer === undefined ? undefined : (answer.seen ?? (await redis?.claim(key)));
    const candidate = this.#candidate(key, answer?.entry, seen);
    try {
      const asked = coherence.ask(performance.now());
      const entry = await this.#parts.postgres.load(key, candidate.held, asked);
      return this.#arrived(key, candidate, entry);
    } catch (error) {
      const stale = error instanceof StorageUnavailableError ? this.#stale(key, candidate) : undefined;
      if (stale !== undefined) return stale;
      if (error instanceof AdapterCorruptError) this.#corrupt(key, error);
      throw error;
    }
  }

  /** The Postgres half of loadMany. */
  async #askPostgres(
    keys: readonly Key[],
    found: ReadonlyMap<string, RedisAnswer>,
  ): Promise<(Loaded | AdapterCorruptError)[]> {
    const { postgres, coherence } = this.#parts;
    const candidates = keys.map((key) => {
      const answer = found.get(key.id);
      return this.#candidate(key, answer?.entry, answer?.seen);
    });
    try {
      const entries = await postgres.loadMany(
        keys,
        candidates.map((candidate) => candidate.held),
        coherence.ask(performance.now()),
      );
      return entries.map((entry, i) => {
        const key = keys[i] as Key;
        if (!(entry instanceof AdapterCorruptError)) return this.#arrived(key, candidates[i] as Candidate, entry);
        this.#corrupt(key, entry);
        return entry;
      });
    } catch (error) {
      const stale = keys.map((key, i) => this.#stale(key, candidates[i] as Candidate));
      if (error instanceof StorageUnavailableError && !stale.includes(undefined)) return stale as Loaded[];
      throw error;
    }
  }

  /** What Redis answered, if it may be served as it is. */
  #fromRedis(key: Key, answer: RedisAnswer | undefined): Loaded | undefined {
    const { coherence, redis } = this.#parts;
    const entry = answer?.entry;
    if (entry === undefined || redis === undefined) return undefined;
    if (!coherence.admits(key.id, entry) || !coherence.counts(entry, performance.now())) return undefined;
    redis.hits++;
    // Redis cannot say when it was verified; the ear that covers it can.
    const vouched = { ...entry, verifiedAt: coherence.knownLatestAt(entry) };
    this.#keep(key, vouched);
    return { entry: vouched, tier: 'redis', stale: false };
  }

  #candidate(key: Key, fromRedis: Entry | undefined, seen: Buffer | undefined): Candidate {
    const { memory, coherence } = this.#parts;
    // Looked up again: while Redis was asked, a save may have put something newer here.
    const held = memory?.get(key.userId, key.adapterName);
    const seenRevision = fromRedis?.revision ?? -1;
    if (held !== undefined) return { held, tier: 'memory', seen, seenRevision };
    const usable = fromRedis !== undefined && !coherence.outdated(key.id, fromRedis);
    return { held: usable ? fromRedis : undefined, tier: 'redis', seen, seenRevision };
  }

  /** Postgres answered: keeps the entry in the tiers above, unless something newer was heard meanwhile. */
  #arrived(key: Key, candidate: Candidate, entry: Entry): Loaded {
    const { coherence, redis, tasks } = this.#parts;
    const unchanged = candidate.held?.revision === entry.revision;
    const tier = unchanged ? candidate.tier : 'postgres';
    if (redis !== undefined && candidate.tier === 'redis') {
      if (unchanged) redis.hits++;
      else if (candidate.held !== undefined) redis.misses++;
    }
    if (coherence.admits(key.id, entry)) {
      this.#keep(key, entry);
      const { seen, seenRevision } = candidate;
      if (redis !== undefined && seen !== undefined && seenRevision <= entry.revision) {
        tasks.track(unchanged && tier === 'redis' ? redis.restamp(key, seen, entry) : redis.fill(key, seen, entry));
      }
    }
    return { entry, tier, stale: false };
  }

  #keep(key: Key, entry: Entry): void {
    this.#parts.memory?.put(key, entry);
  }

  /** Postgres cannot be asked: what is held may be served for a while, and says so. */
  #stale(key: Key, { held, tier }: Candidate): Loaded | undefined {
    const { coherence, maxStalenessMs, staleIfErrorMs } = this.#parts;
    // Asked again: while Postgres was silent, the bus may have told of something newer.
    if (held === undefined || staleIfErrorMs === 0 || coherence.outdated(key.id, held)) return undefined;
    const age = performance.now() - coherence.knownLatestAt(held);
    return age <= maxStalenessMs + staleIfErrorMs ? { entry: held, tier, stale: true } : undefined;
  }

  #corrupt(key: Key, error: AdapterCorruptError): void {
    const { userId, adapterName } = key;
    this.#parts.events.emit('corrupt', { userId, adapterName, tier: 'postgres', reason: error.reason });
  }
}
