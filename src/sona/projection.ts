/**
 * A·x of each content, in what order embeddings come: a vector of the rank is all that training has to keep of one. Each is
 * asked for once, a bounded number at a time, and the event loop turns in between however fast they come.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { implementation } from '../adapter/implementation.js';
import { expectLength } from '../adapter/linear.js';
import type { Vector } from '../adapter/matrix.js';
import type { Weights } from '../adapter/record.js';
import { EmbeddingError } from '../errors.js';
import { allFinite } from './input.js';
import type { ContentEmbedding } from './types.js';

/** Embeddings under way at once: enough to hide a round trip, and no storm. */
const CONCURRENCY = 16;

/** How long the event loop is held before it may turn. An embedding that is there already never lets it by itself. */
const SLICE_MS = 4;

/** [contents × rank], or the EmbeddingError of the first that failed; none is asked for after that. */
export async function project(
  weights: Weights,
  contentIds: readonly string[],
  embedding: ContentEmbedding,
): Promise<Float32Array> {
  const { rank } = weights;
  const hidden = new Float32Array(contentIds.length * rank);
  const pause = pauses();
  const rest = contentIds.entries();
  let failed = false;
  // All lanes draw from the same iterator.
  const lane = async () => {
    for (const [index, contentId] of rest) {
      if (failed) return;
      const row = hidden.subarray(index * rank, (index + 1) * rank);
      try {
        projectOne(weights, contentId, await fetchOne(embedding, contentId), row);
      } catch (error) {
        failed = true;
        throw error;
      }
      await pause();
    }
  };
  await Promise.all(Array.from({ length: Math.min(CONCURRENCY, contentIds.length) }, lane));
  return hidden;
}

async function fetchOne(embedding: ContentEmbedding, contentId: string): Promise<Vector> {
  try {
    return await embedding(contentId);
  } catch (cause) {
    throw new EmbeddingError(contentId, 'could not be had', { cause });
  }
}

function projectOne(weights: Weights, contentId: string, vector: Vector | undefined, row: Float32Array): void {
  if (vector === undefined || vector === null) throw new EmbeddingError(contentId, 'is not there');
  try {
    expectLength('it', vector, weights.inputDim);
  } catch (cause) {
    throw new EmbeddingError(contentId, `cannot be used: ${(cause as Error).message}`);
  }
  implementation.linear.project(weights, vector, row);
  // Every number of the vector is in every sum: where these are finite, so is it.
  if (allFinite(row)) return;
  const what = allFinite(vector)
    ? 'is too large for the base layer, or that is not finite'
    : 'holds a NaN or an infinity';
  throw new EmbeddingError(contentId, what);
}

/** One pause for all lanes: with one each, every lane would run for a slice before the event loop turns. */
function pauses(): () => Promise<void> | undefined {
  let since = performance.now();
  let pausing: Promise<void> | undefined;
  return () => {
    if (pausing === undefined && performance.now() - since >= SLICE_MS) {
      pausing = turn().then(() => {
        since = performance.now();
        pausing = undefined;
      });
    }
    return pausing;
  };
}
