/**
 * A·x of each content, in what order embeddings come: a vector of the rank is all that training has to keep of one. Each is
 * asked for once, a bounded number at a time, and the event loop turns in between however fast they come.
 */
import { implementation } from '../adapter/implementation.js';
import { expectLength } from '../adapter/linear.js';
import type { Vector } from '../adapter/matrix.js';
import type { Weights } from '../adapter/record.js';
import { EmbeddingError } from '../errors.js';
import { allFinite } from './input.js';
import { type Pause, pauses } from './pauses.js';
import type { ContentEmbedding } from './types.js';

/** Embeddings under way at once: enough to hide a round trip, and no storm. */
const CONCURRENCY = 16;

/** Events numbered between two looks at the clock. */
const CHUNK = 256;

export interface Projected {
  /** [events]: a row of hidden each. */
  readonly contents: Uint32Array;
  /** [contents × rank]: A·x of each distinct content. */
  readonly hidden: Float32Array;
}

/** contentIds: of each event. Rejects with the EmbeddingError of the first that failed; none is asked for after that. */
export async function project(
  weights: Weights,
  contentIds: readonly string[],
  embedding: ContentEmbedding,
): Promise<Projected> {
  const pause = pauses();
  const { contents, distinct } = await numbered(contentIds, pause);
  const { rank } = weights;
  const hidden = new Float32Array(distinct.length * rank);
  const rest = distinct.entries();
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
  await Promise.all(Array.from({ length: Math.min(CONCURRENCY, distinct.length) }, lane));
  return { contents, hidden };
}

/** Contents by number, as they first appear. */
async function numbered(contentIds: readonly string[], pause: Pause) {
  const numbers = new Map<string, number>();
  const contents = new Uint32Array(contentIds.length);
  for (const [event, contentId] of contentIds.entries()) {
    const number = numbers.get(contentId) ?? numbers.size;
    if (number === numbers.size) numbers.set(contentId, number);
    contents[event] = number;
    if (event % CHUNK === CHUNK - 1) await pause();
  }
  return { contents, distinct: [...numbers.keys()] };
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
