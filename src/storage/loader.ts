/**
 * One load: memory if its entry counts; otherwise one flight per key, whoever asks, alone or among many. What a flight does
 * is in fetcher.ts.
 */
import type { AdapterRecord } from '../adapter/record.js';
import { Flights } from '../coherence/flight.js';
import type { Key } from '../coherence/key.js';
import { AdapterCorruptError } from '../errors.js';
import type { Entry } from '../tiers/entry.js';
import type { Loaded } from './begun.js';
import { Fetcher, type FetchParts, type Manner } from './fetcher.js';

/** An entry that has a body. */
export type Hit = Entry & { readonly record: AdapterRecord };

export class Loader {
  readonly #parts: FetchParts;
  readonly #flights: Flights<Loaded>;
  readonly #fetcher: Fetcher;

  constructor(parts: FetchParts) {
    this.#parts = parts;
    this.#fetcher = new Fetcher(parts, this.detach.bind(this));
    this.#flights = new Flights(parts.maxStalenessMs);
  }

  get coalesced(): number {
    return this.#flights.coalesced;
  }

  /** An adapter that memory may serve now, counted as a hit; undefined where load() has to be asked. */
  hit(userId: string, adapterName: string): Hit | undefined {
    const entry = this.peek(userId, adapterName);
    if (entry?.record === undefined) return undefined;
    if (this.#parts.memory !== undefined) this.#parts.memory.hits++;
    return entry as Hit;
  }

  /** What memory may serve now. No I/O, no promise. */
  peek(userId: string, adapterName: string): Entry | undefined {
    const { memory, coherence } = this.#parts;
    const entry = memory?.get(userId, adapterName);
    return entry !== undefined && coherence.counts(entry, performance.now()) ? entry : undefined;
  }

  /** From memory, or from the flight for this key. */
  load(key: Key, signal?: AbortSignal): Promise<Loaded> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    const entry = this.#look(key);
    if (entry !== undefined) return Promise.resolve({ entry, tier: 'memory', stale: false, asked: 'memory' });
    return this.#flights.join(key.id, () => this.#parts.tasks.track(this.#fetcher.one(key)), signal);
  }

  /**
   * One round trip per tier for all that nobody asks for already. result[i] answers keys[i]; a key given twice is asked
   * for once, and whoever loads one of them meanwhile joins its flight.
   */
  async loadMany(keys: readonly Key[], manner: Manner = 'usual'): Promise<(Loaded | AdapterCorruptError)[]> {
    const answers = new Map<string, Loaded | AdapterCorruptError>();
    const landing: [id: string, landed: Promise<Loaded>][] = [];
    const cold: Key[] = [];
    for (const key of new Map(keys.map((key) => [key.id, key])).values()) {
      const entry = this.#look(key);
      const underWay = entry === undefined ? this.#flights.underWay(key.id) : undefined;
      if (entry !== undefined) answers.set(key.id, { entry, tier: 'memory', stale: false, asked: 'memory' });
      else if (underWay !== undefined) landing.push([key.id, underWay]);
      else cold.push(key);
    }
    for (const [i, fetching] of this.#fetcher.many(cold, manner).entries()) {
      const { id } = cold[i] as Key;
      landing.push([id, this.#flights.start(id, fetching)]);
    }
    // Bad bytes of one adapter are an answer about that one; whatever else fails, fails all.
    const answer = async ([id, landed]: (typeof landing)[0]) => answers.set(id, await landed.catch(onlyCorrupt));
    await Promise.all(landing.map(answer));
    return keys.map((key) => answers.get(key.id) as Loaded | AdapterCorruptError);
  }

  /** load(), but never of a copy whose weights were rounded: then Postgres is asked. */
  async loadExact(key: Key, signal?: AbortSignal): Promise<Loaded> {
    const loaded = await this.load(key, signal);
    if (!loaded.entry.record?.rounded) return loaded;
    return await this.#flights.join(
      exactId(key),
      () => this.#parts.tasks.track(this.#fetcher.one(key, 'exact')),
      signal,
    );
  }

  /** loadMany() in the same way, in one more round trip. */
  async loadManyExact(keys: readonly Key[]): Promise<(Loaded | AdapterCorruptError)[]> {
    const loaded = await this.loadMany(keys);
    const rounded = keys.filter((_, i) => (loaded[i] as Partial<Loaded>).entry?.record?.rounded);
    if (rounded.length === 0) return loaded;
    const cold = [...new Map(rounded.map((key) => [key.id, key])).values()];
    const fetched = await Promise.all(this.#fetcher.many(cold, 'exact').map((fetching) => fetching.catch(onlyCorrupt)));
    const answers = new Map(cold.map((key, i) => [key.id, fetched[i] as Loaded | AdapterCorruptError]));
    return keys.map((key, i) => answers.get(key.id) ?? (loaded[i] as Loaded | AdapterCorruptError));
  }

  /** Later loads of this key start a flight of their own. */
  detach(key: Key): void {
    this.#flights.detach(key.id);
    this.#flights.detach(exactId(key));
  }

  /** What memory may serve now, counted as a hit or a miss. */
  #look(key: Key): Entry | undefined {
    const { memory } = this.#parts;
    const entry = this.peek(key.userId, key.adapterName);
    if (memory !== undefined) entry === undefined ? memory.misses++ : memory.hits++;
    return entry;
  }
}

/** Of the flights that bring the weights as they were saved. */
function exactId(key: Key): string {
  return `${key.id} exact`;
}

function onlyCorrupt(error: unknown): AdapterCorruptError {
  if (error instanceof AdapterCorruptError) return error;
  throw error;
}
