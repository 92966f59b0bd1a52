// @ts-check
/**
 * Candidates by one user's adapter. SonaEngine.rank does the same in one call; this one also says which tier answered, from
 * the one load that there is. No failure of the storage takes the page down: the order given is an answer too.
 * @import { UserLoRAAdapter } from 'lora-store'
 * @import { Catalogue } from './catalogue.js'
 * @import { Load, Observe } from './observing.js'
 * @import { Metrics } from './metrics.js'
 */
import { InvalidAdapterError, StorageClosedError } from 'lora-store';
import { tellFallback } from './observing.js';
import { Problem } from './problems.js';

/** @typedef {{ id: string, score: number }} Ranked */

/** @param {{ load: Load, catalogue: Catalogue, metrics: Metrics, observe: Observe }} parts */
export function ranker({ load, catalogue, metrics, observe }) {
  return async (
    /** @type {string} */ userId,
    /** @type {string} */ adapterName,
    /** @type {string[]} */ candidates,
  ) => {
    const [inputs, preference] = await Promise.all([
      known(candidates, await catalogue.embeddings(candidates)),
      catalogue.preference(userId),
    ]);
    try {
      const { adapter, ...info } = await load(userId, adapterName);
      const ranked = rank(adapter, candidates, inputs, preference);
      metrics.ranks.inc({ outcome: 'personalised' });
      return { ranked, adapter: { name: adapterName, ...info }, fallback: null };
    } catch (error) {
      if (error instanceof StorageClosedError) throw error;
      const fallback = tellFallback(observe, userId, adapterName, error);
      metrics.ranks.inc({ outcome: fallback });
      return { ranked: candidates.map((id) => ({ id, score: 0 })), adapter: null, fallback };
    }
  };
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
  const inputs = new Float32Array(ids.length * adapter.inputDim);
  for (const [i, embedding] of embeddings.entries()) {
    // An adapter of another shape than the catalogue's: written by somebody else, and of no use here.
    if (embedding.length !== adapter.inputDim) throw new InvalidAdapterError('the adapter has another inputDim');
    inputs.set(embedding, i * adapter.inputDim);
  }
  const scores = adapter.scoreMany(inputs, preference);
  // Beyond what an f32 holds there is no order.
  if (!scores.every(Number.isFinite)) throw new InvalidAdapterError('a score is not finite');
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
