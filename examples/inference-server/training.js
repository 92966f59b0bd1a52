// @ts-check
/**
 * One training of what has gathered of a user's events, in the background: nobody waits for it, so what becomes of it is
 * told to metrics, log and observer.
 * @import { FastifyBaseLogger } from 'fastify'
 * @import { SonaEngine } from 'lora-store'
 * @import { Catalogue } from './catalogue.js'
 * @import { Metrics } from './metrics.js'
 * @import { Observe } from './observing.js'
 * @import { Lot } from './training-queue.js'
 */
import { LoRAStorageError } from 'lora-store';

/** Nothing was saved, and for reasons that pass. After SAVE_OUTCOME_UNKNOWN it may have been: not to be trained twice. */
const PASSING = new Set(['STORAGE_UNAVAILABLE', 'STORAGE_OVERLOADED', 'VERSION_CONFLICT']);

/**
 * @param {{ engine: SonaEngine, catalogue: Catalogue, metrics: Metrics, log: FastifyBaseLogger, observe: Observe }} parts
 * @returns {(lot: Lot) => Promise<'done' | 'again'>} Never rejects.
 */
export function trainer({ engine, catalogue, metrics, log, observe }) {
  const embedding = async (/** @type {string} */ contentId) => {
    const [vector] = await catalogue.embeddings([contentId]);
    if (vector === undefined) throw new Error('not in the catalogue');
    return vector;
  };
  return async ({ userId, adapterName, events }) => {
    const begun = performance.now();
    try {
      const preference = await catalogue.preference(userId);
      const { version, report } = await engine.trainAndPersist(userId, events, embedding, preference, adapterName);
      const milliseconds = performance.now() - begun;
      metrics.trainings.inc({ result: 'trained' });
      metrics.trainedEvents.inc(report.events);
      metrics.trainingSeconds.observe(milliseconds / 1000);
      const [lossFirst, lossLast] = [report.lossPerEpoch[0], report.lossPerEpoch.at(-1)];
      observe({ type: 'trained', userId, version, events: report.events, lossFirst, lossLast, milliseconds });
      log.info({ version, events: report.events, lossFirst, lossLast, ms: milliseconds }, 'trained');
      return 'done';
    } catch (error) {
      const code = error instanceof LoRAStorageError ? error.code : 'INTERNAL';
      const again = PASSING.has(code);
      metrics.trainings.inc({ result: code });
      log[again ? 'warn' : 'error']({ err: error, again }, 'a training failed');
      return again ? 'again' : 'done';
    }
  };
}
