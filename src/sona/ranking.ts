/** The order of candidates for one user: one pass of scoreMany over all of them, and a sort that keeps the order of ties. */
import type { UserLoRAAdapter } from '../adapter/adapter.js';
import { expectLength } from '../adapter/linear.js';
import type { Vector } from '../adapter/matrix.js';
import { InvalidAdapterError } from '../errors.js';
import { parsePreference } from './input.js';
import type { Candidate, Ranked } from './types.js';

/** Candidates as they were when the call was made. */
export interface Batch {
  readonly ids: readonly string[];
  /** Length of each embedding. */
  readonly inputDim: number;
  /** [candidates × inputDim]. */
  readonly inputs: Float32Array;
  readonly preference: Float32Array;
}

export function parseCandidates(candidates: readonly Candidate[], preference: Vector): Batch {
  if (!Array.isArray(candidates)) throw new InvalidAdapterError('candidates are an array of { id, embedding }');
  const inputDim: number = candidates[0]?.embedding?.length ?? 0;
  const inputs = new Float32Array(candidates.length * inputDim);
  const ids = candidates.map((candidate: Candidate | undefined, index) => {
    if (typeof candidate?.id !== 'string') throw new InvalidAdapterError(`candidate ${index}: its id is a string`);
    expectLength(`embedding of candidate ${index}`, candidate.embedding, inputDim);
    inputs.set(candidate.embedding as Float32Array, index * inputDim);
    return candidate.id;
  });
  return { ids, inputDim, inputs, preference: parsePreference(preference) };
}

/** adapter: undefined where there is none, which leaves the order as it is. */
export function rank(adapter: UserLoRAAdapter | undefined, { ids, inputDim, inputs, preference }: Batch): Ranked[] {
  if (adapter === undefined || ids.length === 0) return ids.map((id) => ({ id, score: 0 }));
  if (inputDim !== adapter.inputDim) {
    throw new InvalidAdapterError(`embeddings of candidates must have length ${adapter.inputDim}, given ${inputDim}`);
  }
  const scores = adapter.scoreMany(inputs, preference);
  const ranked = ids.map((id, index) => ({ id, score: scores[index] as number }));
  // A NaN compares with nothing, so it stays out of the sort. Two infinite scores differ by NaN, which sort() takes for a tie.
  const sorted = ranked
    .filter(({ score }) => !Number.isNaN(score))
    .sort((a, b) => b.score - a.score)
    .values();
  return ranked.map((candidate) => (Number.isNaN(candidate.score) ? candidate : (sorted.next().value as Ranked)));
}
