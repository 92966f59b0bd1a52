// @ts-check
/**
 * One training of what has gathered of a user's events, in the background: nobody waits for it, so what becomes of it is
 * told to metrics, log and observer.
 * @import { FastifyBaseLogger } from 'fastify'
 * @import { SonaEngine, TrainingReport } from 'lora-store'
 * @import { Catalogue } from './catalogue.js'
 * @import { Metrics } from './metrics.js'
 * @import { Observe } from './observing.js'
 * @import { Outcome } from './training-queue.js'
 * @import { Lot } from './waiting-lots.js'
 */
import { LoRAStorageError } from 'lora-store';
import { CatalogueError } from './catalogue-in-time.js';

/** Nothing was saved, and for reasons that pass. After SAVE_OUTCOME_UNKNOWN it may have been: not to be trained twice. */
const PASSING = new Set(['CATALOGUE_UNAVAILABLE', 'STORAGE_UNAVAILABLE', 'STORAGE_OVERLOADED', 'VERSION_CONFLICT']);

/**
 * @param {{ engine: SonaEngine, catalogue: Catalogue, metrics: Metrics, log: FastifyBaseLogger, observe: Observe }} parts
 * @returns {(lot: Lot) => Promise<Outcome>} Never rejects.
 */
export function trainer({ engine, catalogue, metrics, log, observe }) {
  const embedding = async (/** @type {string} */ contentId) => {
    const [vector] = await catalogue.embeddings([contentId]);
    if (vector === undefined) throw new Error('not in the catalogue');
    return vector;
  };
  const train = async (/** @type {Lot} */ { userId, adapterName, events }) => {
    const preference = await catalogue.preference(userId);
    return await engine.trainAndPersist(userId, events, embedding, preference, adapterName);
  };
  const tell = (
    /** @type {string} */ userId,
    /** @type {number} */ version,
    /** @type {TrainingReport} */ { events, lossPerEpoch },
    /** @type {number} */ milliseconds,
  ) => {
    const [lossFirst, lossLast] = [lossPerEpoch[0], lossPerEpoch.at(-1)];
    metrics.trainings.inc({ result: 'trained' });
    metrics.trainingSeconds.observe(milliseconds / 1000);
    observe({ type: 'trained', userId, version, events, lossFirst, lossLast, milliseconds });
    log.info({ version, events, lossFirst, lossLast, ms: milliseconds }, 'trained');
  };
  return async (lot) => {
    const begun = performance.now();
    try {
      const { version, report } = await train(lot);
      tell(lot.userId, version, report, performance.now() - begun);
      return 'trained';
    } catch (error) {
      const result = codeOf(error);
      const again = PASSING.has(result);
      metrics.trainings.inc({ result });
      log[again ? 'warn' : 'error']({ err: error, again }, 'a training failed');
      return again ? 'again' : 'dropped';
    }
  };
}

/** @param {unknown} error */
function codeOf(error) {
  // Of an embedding, the package says which, and why as the cause.
  const isOfCatalogue = [error, error instanceof Error && error.cause].some((one) => one instanceof CatalogueError);
  if (isOfCatalogue) return 'CATALOGUE_UNAVAILABLE';
  return error instanceof LoRAStorageError ? error.code : 'INTERNAL';
}
