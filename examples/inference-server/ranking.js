// @ts-check
/**
 * Candidates by one user's adapter. SonaEngine.rank does the same in one call; this one also says which tier answered, from
 * the one load that there is. No failure of the storage takes the page down: the order given is an answer too.
 * @import { UserLoRAAdapter } from 'lora-store'
 * @import { Catalogue } from './catalogue.js'
 * @import { Load, Observe } from './observing.js'
 * @import { Metrics } from './metrics.js'
 */
import { LoRAStorageError } from 'lora-store';
import { tellFallback } from './observing.js';
import { Problem } from './problems.js';

/** @typedef {{ id: string, score: number }} Ranked */

/** Nothing that an order could make up for: the request is wrong, or this server is at its end. */
const REFUSED = new Set(['INVALID_ADAPTER', 'STORAGE_CLOSED']);

/** @param {{ load: Load, catalogue: Catalogue, metrics: Metrics, observe: Observe }} parts */
export function ranker({ load, catalogue, metrics, observe }) {
  return async (
    /** @type {string} */ userId,
    /** @type {string} */ adapterName,
    /** @type {string[]} */ candidates,
  ) => {
    const embeddings = known(candidates, await catalogue.embeddings(candidates));
    const preference = await catalogue.preference(userId);
    try {
      const { adapter, ...info } = await load(userId, adapterName);
      const ranked = rank(adapter, candidates, embeddings, preference);
      metrics.ranks.inc({ outcome: 'personalised' });
      return { ranked, adapter: { name: adapterName, ...info }, fallback: null };
    } catch (error) {
      if (!(error instanceof LoRAStorageError) || REFUSED.has(error.code)) throw error;
      metrics.ranks.inc({ outcome: error.code });
      tellFallback(observe, userId, adapterName, error);
      return { ranked: candidates.map((id) => ({ id, score: 0 })), adapter: null, fallback: error.code };
    }
  };
}

/** An adapter that is there, and of no use here. */
class UnfitAdapterError extends LoRAStorageError {
  /** @override */
  code = 'ADAPTER_UNFIT';
}

/**
 * By descending score, ties in the order given.
 * @param {UserLoRAAdapter} adapter
 * @param {string[]} ids
 * @param {Float32Array[]} embeddings
 * @param {Float32Array} preference
 * @returns {Ranked[]}
 */
function rank(adapter, ids, embeddings, preference) {
  const { inputDim, outputDim } = adapter;
  if (embeddings.some(({ length }) => length !== inputDim) || preference.length !== outputDim) {
    throw new UnfitAdapterError('the adapter has another shape than the catalogue: somebody else wrote it');
  }
  const inputs = new Float32Array(ids.length * inputDim);
  for (const [i, embedding] of embeddings.entries()) inputs.set(embedding, i * inputDim);
  const scores = adapter.scoreMany(inputs, preference);
  if (!scores.every(Number.isFinite)) throw new UnfitAdapterError('a score is beyond what an f32 holds');
  return ids.map((id, i) => ({ id, score: scores[i] ?? 0 })).sort((a, b) => b.score - a.score);
}

/**
 * @param {string[]} ids
 * @param {(Float32Array | undefined)[]} embeddings
 * @returns {Float32Array[]}
 */
export function known(ids, embeddings) {
  const missing = embeddings.indexOf(undefined);
  if (missing === -1) return /** @type {Float32Array[]} */ (embeddings);
  throw new Problem(422, 'UNKNOWN_CONTENT', `There is no content ${JSON.stringify(ids[missing])}.`);
}
