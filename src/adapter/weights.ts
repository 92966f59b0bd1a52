/**
 * Weights as values: made once, then only read. Whoever wants other weights makes new ones here. That is what lets a
 * record in the cache, every adapter loaded from it and every clone share the same arrays.
 */
import { types } from 'node:util';
import { InvalidAdapterError } from '../errors.js';
import type { AdapterShape } from './matrix.js';
import { recordBytes, type Weights } from './record.js';

const DEFAULT_SHAPE: Required<AdapterShape> = { rank: 8, inputDim: 512, outputDim: 768, alpha: 16 };

// The largest value of a bytea column: a shape beyond it could be trained for hours and then not be saved.
const MAX_RECORD_BYTES = 2 ** 30 - 1;

export function zeroWeights(userId: string, shape: AdapterShape): Weights {
  const { rank, inputDim, outputDim, alpha } = parseShape(shape);
  const all = new Float32Array(rank * (inputDim + outputDim));
  const base = all.subarray(0, rank * inputDim);
  const user = all.subarray(rank * inputDim);
  return { userId, rank, inputDim, outputDim, scalingFactor: Math.fround(alpha / rank), base, user };
}

/**
 * Weights that edit made of a copy of the given ones. The arrays edit gets are writable until it returns: then their
 * buffer is transferred away, so that one the caller kept is empty and cannot reach into an adapter's weights. Throws
 * what edit throws; the given weights stay as they are in any case.
 */
export function editWeights(weights: Weights, edit: (base: Float32Array, user: Float32Array) => void): Weights {
  const { base, user } = weights;
  const all = new Float32Array(base.length + user.length);
  all.set(base);
  all.set(user, base.length);
  const outcome: unknown = edit(all.subarray(0, base.length), all.subarray(base.length));
  if (types.isPromise(outcome)) {
    // Its rejection is the caller's to see where it can still be seen; here it must not end the process.
    outcome.catch(() => {});
    throw new InvalidAdapterError('updateWeights() takes a synchronous function: compute first, then write');
  }
  if (all.length === 0) throw new InvalidAdapterError('updateWeights() lost its arrays: edit transferred their buffer');
  const sealed = new Float32Array(structuredClone(all.buffer, { transfer: [all.buffer] }));
  return { ...withoutBytes(weights), base: sealed.subarray(0, base.length), user: sealed.subarray(base.length) };
}

// A record's bytes hold the old weights: they must not travel on with new ones.
function withoutBytes(weights: Weights): Omit<Weights, 'base' | 'user'> {
  const { userId, rank, inputDim, outputDim, scalingFactor, rounded } = weights;
  return { userId, rank, inputDim, outputDim, scalingFactor, ...(rounded && { rounded }) };
}

function parseShape(shape: AdapterShape): Required<AdapterShape> {
  if (typeof shape !== 'object' || shape === null) throw new InvalidAdapterError('a shape is an object');
  for (const name of Object.keys(shape)) {
    if (!Object.hasOwn(DEFAULT_SHAPE, name)) {
      throw new InvalidAdapterError(`unknown '${name}' in a shape: it has rank, inputDim, outputDim and alpha`);
    }
  }
  const parsed = {
    rank: dimension('rank', shape.rank),
    inputDim: dimension('inputDim', shape.inputDim),
    outputDim: dimension('outputDim', shape.outputDim),
    alpha: shape.alpha ?? DEFAULT_SHAPE.alpha,
  };
  const bytes = recordBytes(parsed.rank, parsed.inputDim, parsed.outputDim);
  if (bytes > MAX_RECORD_BYTES) {
    throw new InvalidAdapterError(`this shape makes a record of ${bytes} bytes; Postgres holds ${MAX_RECORD_BYTES}`);
  }
  if (typeof parsed.alpha !== 'number' || !Number.isFinite(Math.fround(parsed.alpha / parsed.rank))) {
    throw new InvalidAdapterError('alpha is a number, and alpha / rank is finite in single precision');
  }
  return parsed;
}

function dimension(name: 'rank' | 'inputDim' | 'outputDim', value = DEFAULT_SHAPE[name]): number {
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidAdapterError(`${name} is a positive integer`);
  return value;
}
