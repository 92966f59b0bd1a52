/**
 * SonaEngine: personalisation over a storage object. Trains what is stored so that no other trainer's update is lost, and
 * ranks with what is stored so that no failure of the storage takes the page down.
 */

import { ExponentialBackoff, handleType, retry } from 'cockatiel';
import { UserLoRAAdapter } from '../adapter/adapter.js';
import type { Vector } from '../adapter/matrix.js';
import { AdapterNotFoundError, StorageUnavailableError, VersionConflictError } from '../errors.js';
import { DEFAULT_NAME } from '../storage/input.js';
import type { LoRAStorage } from '../storage/lora-storage.js';
import { parseConfig } from './input.js';
import { parseCandidates, rank } from './ranking.js';
import { Training } from './training.js';
import type { Candidate, ContentEmbedding, Ranked, SonaConfig, TrainingReport, ViewingEvent } from './types.js';

/**
 * Each round of rivals has a winner, so ten that begin together need ten at the most; this leaves room for as many that
 * come later. Delays are jittered: rivals in step would meet again.
 */
const RETRIES = 24;
const trainAgainOnConflict = retry(handleType(VersionConflictError), {
  maxAttempts: RETRIES,
  backoff: new ExponentialBackoff({ initialDelay: 2, maxDelay: 100 }),
});

export class SonaEngine {
  readonly #storage: LoRAStorage;
  readonly #config: Required<SonaConfig>;

  /** Throws InvalidAdapterError on a setting that is unknown or out of range. */
  constructor(storage: LoRAStorage, config?: SonaConfig) {
    this.#storage = storage;
    this.#config = parseConfig(config);
  }

  static withDefaultConfig(storage: LoRAStorage): SonaEngine {
    return new SonaEngine(storage);
  }

  /**
   * Loads the adapter, or begins one of the default shape with random weights; trains it as UpdateUserLoRA does; and saves
   * it as the next version. Another trainer who was faster costs a repetition on his result, never his update; embeddings
   * are not asked for again. version: the latest, also when nothing was trained and nothing saved (0: none yet).
   *
   * Rejects as loadAdapter, UpdateUserLoRA.execute and saveAdapter do, with nothing saved, but for one:
   * - AdapterNotFoundError: it was there, and was deleted during the training. A deletion is not undone; a later call begins
   *   a new one.
   * - AdapterCorruptError: what is stored is no adapter, and is not overwritten.
   * - StorageUnavailableError: also where a cache could answer, since nobody knows whether that is the latest version.
   * - VersionConflictError: 25 times others were faster.
   * - SaveOutcomeUnknownError: the training may have been saved. It is not repeated, which could train on the same events
   *   twice: load, and look at trainingIterations, first.
   */
  async trainAndPersist(
    userId: string,
    events: readonly ViewingEvent[],
    embedding: ContentEmbedding,
    preference: Vector,
    adapterName: string = DEFAULT_NAME,
  ): Promise<{ version: number; report: TrainingReport }> {
    const training = new Training(events, embedding, preference, this.#config);
    let found = false;
    return await trainAgainOnConflict.execute(async () => {
      // One that was there and is gone was deleted: beginning it anew would undo that.
      const { adapter, version } = await this.#load(userId, adapterName, found ? 'reject' : 'begin');
      found = version > 0;
      const report = await training.run(adapter);
      if (!report.trained) return { version, report };
      return { version: await this.#storage.saveAdapter(adapter, adapterName, { expectedVersion: version }), report };
    });
  }

  /**
   * Candidates by descending score for that user, ties in the order given. A score that is NaN moves nothing: its candidate
   * keeps its place. An unknown user, an adapter whose bytes are bad and a storage that cannot answer get the order given,
   * with scores of 0; storage.on('fallback') tells which it was. preference: [outputDim].
   *
   * Rejects with InvalidAdapterError on a userId, name, candidate or preference that is none, or of another length than the
   * adapter's, and after the storage was closed; for no other reason.
   */
  async rank(
    userId: string,
    candidates: readonly Candidate[],
    preference: Vector,
    adapterName: string = DEFAULT_NAME,
  ): Promise<Ranked[]> {
    const batch = parseCandidates(candidates, preference);
    let known = true;
    const adapter = await this.#storage.loadAdapterOr(userId, adapterName, () => {
      known = false;
      return new UserLoRAAdapter(userId);
    });
    return rank(known ? adapter : undefined, batch);
  }

  /** An adapter of this call's own, with the version it is. */
  async #load(
    userId: string,
    adapterName: string,
    absent: 'begin' | 'reject',
  ): Promise<{ adapter: UserLoRAAdapter; version: number }> {
    try {
      const { adapter, version, stale } = await this.#storage.loadAdapterInfo(userId, adapterName, { exact: true });
      if (!stale) return { adapter, version };
    } catch (error) {
      if (!(error instanceof AdapterNotFoundError) || absent === 'reject') throw error;
      return { adapter: new UserLoRAAdapter(userId).initializeRandom(), version: 0 };
    }
    throw new StorageUnavailableError('Postgres cannot say whether the cached adapter is the latest: train it later');
  }
}
