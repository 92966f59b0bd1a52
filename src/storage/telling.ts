/**
 * Tells of loads and saves on their channels, to whoever listens; where nobody does, it hands the work through. Messages
 * are sent in the caller's async context, after what he waited for, so that a span made of one has the right parent.
 */
import type { Channel } from 'node:diagnostics_channel';
import type { Coherence } from '../coherence/head.js';
import type { Key } from '../coherence/key.js';
import { type AdapterCorruptError, AdapterNotFoundError } from '../errors.js';
import type { Loaded } from './begun.js';
import { type LoadManyMessage, type LoadMessage, loads, manyLoads, type SaveMessage, saves } from './channels.js';
import type { Tier } from './events.js';
import type { Hit, Loader } from './loader.js';
import type { LoRAStorage } from './lora-storage.js';
import { loadFailure, loadOutcome, saveFailure, summary } from './outcomes.js';

type Answer = Pick<LoadMessage, 'outcome' | 'tier' | 'asked' | 'version' | 'verifiedAgeMs'>;
type Ending = { readonly durationMs: number; readonly error: unknown };

export class Telling {
  readonly #storage: LoRAStorage;
  readonly #coherence: Coherence;
  readonly #loader: Loader;

  constructor(storage: LoRAStorage, { coherence, loader }: { coherence: Coherence; loader: Loader }) {
    this.#storage = storage;
    this.#coherence = coherence;
    this.#loader = loader;
  }

  /** A look at memory alone: in the place of loader.hit() while somebody listens. */
  hit(userId: string, adapterName: string): Hit | undefined {
    const begunAt = performance.now();
    let entry: Hit | undefined;
    try {
      entry = this.#loader.hit(userId, adapterName);
    } catch (error) {
      this.#load({ userId, adapterName }, noAnswer(error, undefined), ended(begunAt, error));
      throw error;
    }
    if (entry === undefined) return undefined;
    const answer = this.#answer({ entry, tier: 'memory', stale: false, asked: 'memory' });
    this.#load({ userId, adapterName }, answer, ended(begunAt));
    return entry;
  }

  load(key: Key, signal: AbortSignal | undefined, ask: () => Promise<Loaded>): Promise<Loaded> {
    if (!loads.hasSubscribers) return ask();
    return this.#told(
      ask,
      (loaded, ending) => this.#load(key, this.#answer(loaded), ending),
      (error, ending) => this.#load(key, noAnswer(error, signal), ending),
    );
  }

  /** A load of one version, latest or not. tier: where it was found. */
  loadVersion<T extends { readonly tier: Tier }>(
    key: Key,
    version: number,
    signal: AbortSignal | undefined,
    ask: () => Promise<T>,
  ): Promise<T> {
    if (!loads.hasSubscribers) return ask();
    return this.#told(
      ask,
      ({ tier }, ending) =>
        this.#load(key, { outcome: 'hit', tier, asked: tier, version, verifiedAgeMs: undefined }, ending),
      (error, ending) => this.#load(key, noAnswer(error, signal), ending),
    );
  }

  loadMany(
    keys: number,
    signal: AbortSignal | undefined,
    ask: () => Promise<(Loaded | AdapterCorruptError)[]>,
  ): Promise<(Loaded | AdapterCorruptError)[]> {
    if (!manyLoads.hasSubscribers) return ask();
    const tell = (told: Pick<LoadManyMessage, 'outcome' | 'outcomes' | 'asked'>, ending: Ending) =>
      send<LoadManyMessage>(manyLoads, { storage: this.#storage, keys, ...told, ...ending });
    return this.#told(
      ask,
      (answers, ending) => tell({ outcome: 'answered', ...summary(answers) }, ending),
      (error, ending) => tell({ outcome: loadFailure(error, signal), outcomes: {}, asked: undefined }, ending),
    );
  }

  /** write: resolves with the version that was committed. */
  save(operation: SaveMessage['operation'], key: Key, write: () => Promise<number>): Promise<number> {
    if (!saves.hasSubscribers) return write();
    const { userId, adapterName } = key;
    const tell = (told: Pick<SaveMessage, 'outcome' | 'version'>, ending: Ending) =>
      send<SaveMessage>(saves, { storage: this.#storage, operation, userId, adapterName, ...told, ...ending });
    return this.#told(
      write,
      (version, ending) => tell({ outcome: 'saved', version }, ending),
      (error, ending) => tell({ outcome: saveFailure(error), version: undefined }, ending),
    );
  }

  async #told<T>(
    work: () => Promise<T>,
    done: (result: T, ending: Ending) => void,
    failed: (error: unknown, ending: Ending) => void,
  ): Promise<T> {
    const begunAt = performance.now();
    let result: T;
    try {
      result = await work();
    } catch (error) {
      failed(error, ended(begunAt, error));
      throw error;
    }
    done(result, ended(begunAt));
    return result;
  }

  #load({ userId, adapterName }: Pick<Key, 'userId' | 'adapterName'>, answer: Answer, ending: Ending): void {
    send<LoadMessage>(loads, { storage: this.#storage, userId, adapterName, ...answer, ...ending });
  }

  #answer(loaded: Loaded): Answer {
    const { entry, tier, asked } = loaded;
    const outcome = loadOutcome(loaded);
    if (outcome === 'absent') return { outcome, tier: asked, asked, version: undefined, verifiedAgeMs: undefined };
    const verifiedAgeMs = Math.max(0, performance.now() - this.#coherence.knownLatestAt(entry));
    return { outcome, tier, asked, version: entry.version, verifiedAgeMs };
  }
}

/** The type says what the channel carries. */
function send<M>(channel: Channel, message: M): void {
  channel.publish(message);
}

function ended(begunAt: number, error?: unknown): Ending {
  return { durationMs: performance.now() - begunAt, error };
}

function noAnswer(error: unknown, signal: AbortSignal | undefined): Answer {
  const absent = error instanceof AdapterNotFoundError;
  const tier = absent ? 'postgres' : undefined;
  const outcome = absent ? 'absent' : loadFailure(error, signal);
  return { outcome, tier, asked: tier, version: undefined, verifiedAgeMs: undefined };
}
