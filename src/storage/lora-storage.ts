/**
 * The storage object: what a caller may ask, in the order it happens. Checks the question, lets the loader or the writer
 * answer it, and turns absence into AdapterNotFoundError. How a load goes is in loader.ts, how a write goes in writer.ts.
 */
import { adapterFromRecord, UserLoRAAdapter, weightsOf } from '../adapter/adapter.js';
import { encodeRecord } from '../adapter/codec.js';
import { parseUserId } from '../adapter/user-id.js';
import { untilAborted } from '../coherence/flight.js';
import type { Key } from '../coherence/key.js';
import { within } from '../deadline.js';
import { AdapterCorruptError, AdapterNotFoundError, InvalidAdapterError, StorageClosedError } from '../errors.js';
import type { LoRAStorageOptions } from '../options.js';
import type { Entry } from '../tiers/entry.js';
import * as sql from '../tiers/statements.js';
import type { Loaded } from './begun.js';
import { loads } from './channels.js';
import type { EventName, StorageEvents } from './events.js';
import * as input from './input.js';
import { openParts, type Parts } from './open.js';
import type { PruneOptions } from './prune.js';
import { countAdapters, type LoRAAdapterMetadata, listAdapters, type StorageStats, storageStats } from './queries.js';
import { type CacheStats, cacheStats, type Health, health } from './status.js';
import { Telling } from './telling.js';
import { fillTensors } from './tensors.js';
import type { AdapterKey, CallOptions, LoadedAdapter } from './types.js';
import { type Warmed, type WarmOptions, warm } from './warming.js';

export class LoRAStorage {
  readonly #parts: Parts & { readonly telling: Telling };
  #closing: Promise<void> | undefined;

  private constructor(parts: Parts) {
    this.#parts = { ...parts, telling: new Telling(this, parts) };
    parts.events.opened(this);
  }

  /**
   * Connects, checks the schema, subscribes. Rejects with SchemaError (its message names the command that migrates),
   * StorageUnavailableError (Postgres cannot be reached), or a TypeError or RangeError naming the option that is wrong.
   */
  static async open(options?: LoRAStorageOptions): Promise<LoRAStorage> {
    return new LoRAStorage(await openParts(options));
  }

  // ── save and load ──

  /**
   * Stores a new version and returns its number, once Postgres has committed it. The adapter is read before this returns
   * its promise: what the caller changes afterwards is not saved.
   * expectedVersion: commit only if that is the latest existing version (0: there is none), else VersionConflictError.
   * InvalidAdapterError (its weights were loaded in half precision, say), UserNotFoundError, StorageUnavailableError: nothing was saved. SaveOutcomeUnknownError when the
   * connection died before the commit was confirmed.
   */
  async saveAdapter(
    adapter: UserLoRAAdapter,
    adapterName: string = input.DEFAULT_NAME,
    options?: { expectedVersion?: number },
  ): Promise<number> {
    this.#open();
    if (!(adapter instanceof UserLoRAAdapter)) throw new InvalidAdapterError('saveAdapter takes a UserLoRAAdapter');
    const key = this.#key(adapter.userId, adapterName);
    input.parseTrainingIterations(adapter.trainingIterations);
    const call = input.parseCall('saveAdapter', options, ['expectedVersion']);
    const expectedVersion = input.parseExpectedVersion(call.expectedVersion);
    input.refuseRounded(weightsOf(adapter));
    const record = encodeRecord(adapter);
    const { writer } = this.#parts;
    return await this.#parts.telling.save('save', key, async () => {
      return (await this.#track(writer.save(key, record, expectedVersion))).version;
    });
  }

  /** Latest version. Rejects with AdapterNotFoundError, AdapterCorruptError or StorageUnavailableError. */
  loadAdapter(
    userId: string,
    adapterName: string = input.DEFAULT_NAME,
    options?: CallOptions,
  ): Promise<UserLoRAAdapter> {
    // No async function: one that awaits on another path costs a hit a tenth. A guarded memory may throw.
    try {
      const hit = options === undefined && this.#closing === undefined ? this.#hit(userId, adapterName) : undefined;
      return hit === undefined ? this.#loadLatest(userId, adapterName, options) : Promise.resolve(hit);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** loadAdapter, with where it came from. */
  async loadAdapterInfo(
    userId: string,
    adapterName: string = input.DEFAULT_NAME,
    options?: CallOptions,
  ): Promise<LoadedAdapter> {
    const key = this.#key(userId, adapterName);
    const { entry, tier, stale } = await this.#load(key, options);
    const adapter = present(key, entry);
    const verifiedAgeMs = Math.max(0, performance.now() - this.#parts.coherence.knownLatestAt(entry));
    return { adapter, version: entry.version, revision: entry.revision, tier, verifiedAgeMs, stale };
  }

  /** The latest version if memory holds it and may serve it now; no promise, no I/O. */
  peekAdapter(userId: string, adapterName: string = input.DEFAULT_NAME): UserLoRAAdapter | undefined {
    const hit = this.#closing === undefined ? this.#hit(userId, adapterName) : undefined;
    if (hit !== undefined) return hit;
    const key = this.#key(userId, adapterName);
    return key.userId === userId ? undefined : this.#hit(key.userId, adapterName);
  }

  /** That version, latest or not, its weights as they were saved. Rejects as loadAdapter does. */
  async loadAdapterVersion(
    userId: string,
    adapterName: string,
    version: number,
    options?: CallOptions,
  ): Promise<UserLoRAAdapter> {
    const key = this.#key(userId, adapterName);
    input.parseVersion(version);
    const { loader } = this.#parts;
    const { adapter } = await this.#parts.telling.loadVersion(key, version, options?.signal, async () => {
      options?.signal?.throwIfAborted();
      const latest = loader.peek(key.userId, key.adapterName);
      if (latest?.version === version && !latest.record?.rounded)
        return { adapter: present(key, latest), tier: 'memory' };
      const row = await this.#abortable(this.#readVersion(key, version), options);
      if (row === undefined) throw new AdapterNotFoundError(key.userId, key.adapterName, version);
      return { adapter: adapterFromRecord(row.record, row.updatedAt), tier: 'postgres' };
    });
    return adapter;
  }

  /**
   * One round trip per tier for all of them; result[i] answers keys[i]: undefined where there is none, the error where
   * its bytes are bad. Rejects with StorageUnavailableError when one of them could not be asked for.
   */
  async loadAdapters(
    keys: readonly AdapterKey[],
    options?: CallOptions,
  ): Promise<(UserLoRAAdapter | AdapterCorruptError | undefined)[]> {
    const entries = await this.#loadMany(keys, options);
    return entries.map((entry) => {
      if (entry instanceof AdapterCorruptError) return entry;
      return entry.record && adapterFromRecord(entry.record, entry.updatedAt);
    });
  }

  /**
   * loadAdapters straight into two contiguous tensors, base [n × rank·inputDim] and user [n × outputDim·rank], for a
   * batched kernel. result[i]: row i was filled (else it is zeros: no such adapter, bad bytes, which a `corrupt` event
   * tells of, or another shape). InvalidAdapterError when the tensors are not n rows long.
   */
  async loadAdaptersInto(
    keys: readonly AdapterKey[],
    base: Float32Array,
    user: Float32Array,
    options?: CallOptions,
  ): Promise<boolean[]> {
    return fillTensors(await this.#loadMany(keys, options), { rows: keys.length, base, user });
  }

  /**
   * loadAdapter, or fallback() when it is not found, corrupt, unavailable, or not there within budgetMs (each reported
   * as an event); a load that outlasts its budget goes on and fills the caches. Rejects only for bad input, after
   * close(), and when aborted.
   */
  async loadAdapterOr(
    userId: string,
    adapterName: string,
    fallback: () => UserLoRAAdapter,
    options: CallOptions & { budgetMs?: number } = {},
  ): Promise<UserLoRAAdapter> {
    const key = this.#key(userId, adapterName);
    const { signal } = options;
    const budgetMs = input.parseBudget(options.budgetMs);
    try {
      return present(key, (await this.#load(key, options, budgetMs)).entry);
    } catch (error) {
      if (signal?.aborted || error instanceof StorageClosedError) throw error;
      this.#parts.events.emit('fallback', { userId: key.userId, adapterName, cause: error as Error });
      return fallback();
    }
  }

  /**
   * Loads these adapters into Redis and memory, in batches, no more than perSecond a second. Memory takes what it has room
   * for and pushes nothing out for it; Redis takes all. For lists of any length: keys may be any iterable, also an
   * asynchronous one, and their weights are not kept beyond the caches. Rejects as loadAdapters does, after what was loaded
   * stays loaded; with the signal's reason when aborted; and with StorageClosedError when the storage is closed meanwhile.
   */
  async warm(keys: Iterable<AdapterKey> | AsyncIterable<AdapterKey>, options?: WarmOptions): Promise<Warmed> {
    this.#open();
    const call = input.parseCall('warm', options, ['signal', 'perSecond', 'onProgress']);
    input.parsePerSecond(call.perSecond);
    return await warm(
      keys,
      (batch) => {
        this.#open();
        return this.#track(this.#parts.loader.loadMany(batch, 'warming'));
      },
      call,
    );
  }

  // ── what there is ──

  /** Every version of every adapter of that user, newest first. */
  async listAdapters(userId: string): Promise<LoRAAdapterMetadata[]> {
    this.#open();
    return await this.#track(listAdapters(this.#parts.postgres, parseUserId(userId)));
  }

  /** Rows: every version of every adapter of that user. */
  async countAdapters(userId: string): Promise<number> {
    this.#open();
    return await this.#track(countAdapters(this.#parts.postgres, parseUserId(userId)));
  }

  async getStorageStats(): Promise<StorageStats> {
    this.#open();
    return await this.#track(storageStats(this.#parts.postgres));
  }

  // ── delete, roll back, prune ──

  /** Deletes every version of that adapter; returns how many. */
  async deleteAdapter(userId: string, adapterName: string = input.DEFAULT_NAME): Promise<number> {
    return await this.#track(this.#parts.writer.delete(this.#key(userId, adapterName)));
  }

  /** Deletes one version; the newest that is left is the latest then. False: there was no such version. */
  async deleteAdapterVersion(userId: string, adapterName: string, version: number): Promise<boolean> {
    const key = this.#key(userId, adapterName);
    return (await this.#track(this.#parts.writer.delete(key, input.parseVersion(version)))) === 1;
  }

  /**
   * Makes an old version the latest again by appending it; returns the new version number. Rejects with
   * AdapterNotFoundError where that version is gone.
   */
  async rollbackAdapter(userId: string, adapterName: string, toVersion: number): Promise<number> {
    const key = this.#key(userId, adapterName);
    const version = input.parseVersion(toVersion);
    return await this.#parts.telling.save('rollback', key, () =>
      this.#track(this.#parts.writer.rollback(key, version)),
    );
  }

  /**
   * Deletes all but the newest keepLatest (at least 1) versions of each adapter, one user's or everyone's; returns rows
   * deleted. In batches, each with its own transaction: when it is ended in the middle, the rest is there for the next call.
   */
  async pruneVersions(options: { keepLatest: number } & PruneOptions): Promise<number> {
    this.#open();
    const call = input.parseCall('pruneVersions', options, ['keepLatest', ...input.PRUNE_OPTIONS]);
    const values = [input.parseKeepLatest(call.keepLatest)];
    return await this.#track(this.#parts.writer.prune(sql.PRUNE_VERSIONS, values, false, input.parsePrune(call)));
  }

  /** Deletes versions created more than olderThanDays ago, never an adapter's latest unless includeLatest. Otherwise as pruneVersions. */
  async pruneOlderThan(options: { olderThanDays: number; includeLatest?: boolean } & PruneOptions): Promise<number> {
    this.#open();
    const known = ['olderThanDays', 'includeLatest', ...input.PRUNE_OPTIONS] as const;
    const call = input.parseCall('pruneOlderThan', options, known);
    const latestToo = call.includeLatest === true;
    const values = [input.parseDays(call.olderThanDays), latestToo];
    return await this.#track(this.#parts.writer.prune(sql.PRUNE_OLDER, values, latestToo, input.parsePrune(call)));
  }

  /**
   * Erases a user: rows and heads in Postgres, entries in Redis, entries in every node's memory. Returns rows deleted.
   * StorageUnavailableError: Postgres or Redis did not answer, and something may be left; it may be called again.
   */
  async forgetUser(userId: string): Promise<number> {
    this.#open();
    return await this.#track(this.#parts.writer.forgetUser(parseUserId(userId)));
  }

  // ── how it is ──

  /** Counters since open(), and how its parts are now. No I/O. */
  cacheStats(): CacheStats {
    return cacheStats(this.#parts);
  }

  /** Asks each part now; a part that does not answer is `down`. Rejects after close() alone, with StorageClosedError. */
  async health(): Promise<Health> {
    this.#open();
    return await this.#track(health(this.#parts));
  }

  on<E extends EventName>(event: E, listener: (...args: StorageEvents[E]) => void): this {
    this.#parts.events.on(event, listener);
    return this;
  }

  off<E extends EventName>(event: E, listener: (...args: StorageEvents[E]) => void): this {
    this.#parts.events.off(event, listener);
    return this;
  }

  // ── the end ──

  /** Lets calls in flight finish, then closes what open() opened. Later calls reject with StorageClosedError. */
  close(): Promise<void> {
    this.#closing ??= this.#end();
    return this.#closing;
  }

  async #end(): Promise<void> {
    // Or it would go on giving the tasks something to wait for.
    this.#parts.hotKeys?.stop();
    await this.#parts.tasks.drain();
    await this.#parts.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  // ── inside ──

  /** The path of every hot load: no key is built, nothing is awaited. Kept short, or V8 does not inline it: 6 ns of 120. */
  #hit(userId: string, adapterName: string): UserLoRAAdapter | undefined {
    const parts = this.#parts;
    const entry = (loads.hasSubscribers ? parts.telling : parts.loader).hit(userId, adapterName);
    return entry && adapterFromRecord(entry.record, entry.updatedAt);
  }

  async #loadLatest(userId: string, adapterName: string, options: CallOptions | undefined): Promise<UserLoRAAdapter> {
    const key = this.#key(userId, adapterName);
    return present(key, (await this.#load(key, options)).entry);
  }

  #load(key: Key, options: CallOptions | undefined, budgetMs?: number): Promise<Loaded> {
    const { loader } = this.#parts;
    const { signal, exact } = options ?? {};
    return this.#parts.telling.load(key, signal, () => {
      const load = exact === true ? loader.loadExact(key, signal) : loader.load(key, signal);
      return budgetMs === undefined ? load : within(load, budgetMs, 'the adapter');
    });
  }

  /** Told of here: no fetcher sees these bytes. */
  async #readVersion(key: Key, version: number) {
    try {
      return await this.#parts.postgres.loadVersion(key, version);
    } catch (error) {
      const { userId, adapterName } = key;
      if (error instanceof AdapterCorruptError)
        this.#parts.events.emit('corrupt', { userId, adapterName, tier: 'postgres', reason: error.reason });
      throw error;
    }
  }

  async #loadMany(keys: readonly AdapterKey[], options?: CallOptions): Promise<(Entry | AdapterCorruptError)[]> {
    this.#open();
    if (!Array.isArray(keys)) throw new InvalidAdapterError('the keys are an array of { userId, adapterName }');
    const parsed = keys.map(({ userId, adapterName = input.DEFAULT_NAME }) => this.#key(userId, adapterName));
    const { loader } = this.#parts;
    const answers = await this.#parts.telling.loadMany(keys.length, options?.signal, async () => {
      options?.signal?.throwIfAborted();
      const answering = options?.exact === true ? loader.loadManyExact(parsed) : loader.loadMany(parsed);
      return await this.#abortable(answering, options);
    });
    return answers.map((answer: Loaded | AdapterCorruptError) =>
      answer instanceof AdapterCorruptError ? answer : answer.entry,
    );
  }

  #key(userId: string, adapterName: string): Key {
    this.#open();
    return input.parseKey(userId, adapterName);
  }

  #open(): void {
    if (this.#closing !== undefined) throw new StorageClosedError();
  }

  #track<T>(work: Promise<T>): Promise<T> {
    return this.#parts.tasks.track(work);
  }

  #abortable<T>(work: Promise<T>, options: CallOptions | undefined): Promise<T> {
    const tracked = this.#track(work);
    return options?.signal === undefined ? tracked : untilAborted(tracked, options.signal);
  }
}

function present(key: Key, entry: Entry): UserLoRAAdapter {
  if (entry.record === undefined) throw new AdapterNotFoundError(key.userId, key.adapterName);
  return adapterFromRecord(entry.record, entry.updatedAt);
}
