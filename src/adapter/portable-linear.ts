/**
 * The readable reference of what an adapter computes, on plain typed arrays: what runs where no addon loads, and what
 * native/kernels-impl.h is held to. Sums run in float64 in the order of the rows and are rounded to f32 only where a
 * result is stored in one.
 */
import type { Vector } from './matrix.js';
import type { Linear } from './record.js';

export const portableLinear: Linear = {
  forward({ rank, inputDim, outputDim, scalingFactor, base, user }, input, out) {
    const hidden = timesVector(base, rank, inputDim, input);
    for (let row = 0; row < outputDim; row++) out[row] = scalingFactor * dot(user, row * rank, hidden, rank);
  },

  /** p·(s·B·h) = s·(Bᵀ·p)·h: the output vector is never formed. */
  score({ rank, inputDim, outputDim, scalingFactor, base, user }, input, preference) {
    const hidden = timesVector(base, rank, inputDim, input);
    return scalingFactor * dot(hidden, 0, transposedTimesVector(user, outputDim, rank, preference), rank);
  },

  /** p·(s·B·A·x) = (s·Aᵀ·(Bᵀ·p))·x: the bracket is the same for every candidate, which leaves one dot product for each. */
  scoreMany({ rank, inputDim, outputDim, scalingFactor, base, user }, inputs, preference, out) {
    const reflected = transposedTimesVector(user, outputDim, rank, preference);
    const direction = transposedTimesVector(base, rank, inputDim, reflected);
    for (let i = 0; i < out.length; i++) out[i] = scalingFactor * dot(inputs, i * inputDim, direction, inputDim);
  },

  project({ rank, inputDim, base }, input, out) {
    out.set(timesVector(base, rank, inputDim, input));
  },

  reflect({ rank, outputDim, user }, preference, out) {
    out.set(transposedTimesVector(user, outputDim, rank, preference));
  },

  descend(user, preference, direction) {
    const rank = direction.length;
    for (let row = 0; row < preference.length; row++) {
      const factor = preference[row] as number;
      for (let k = 0; k < rank; k++) {
        user[row * rank + k] = (user[row * rank + k] as number) - factor * (direction[k] as number);
      }
    }
  },
};

/** M · x for M of [rows × cols]. */
function timesVector(matrix: Float32Array, rows: number, cols: number, x: Vector): Float64Array {
  const product = new Float64Array(rows);
  for (let row = 0; row < rows; row++) product[row] = dot(matrix, row * cols, x, cols);
  return product;
}

/** Mᵀ · x for M of [rows × cols], reading M row by row as it lies in memory. */
function transposedTimesVector(
  matrix: Float32Array,
  rows: number,
  cols: number,
  x: Vector | Float64Array,
): Float64Array {
  const product = new Float64Array(cols);
  for (let row = 0; row < rows; row++) {
    const factor = x[row] as number;
    const start = row * cols;
    for (let col = 0; col < cols; col++) {
      product[col] = (product[col] as number) + factor * (matrix[start + col] as number);
    }
  }
  return product;
}

/** Σ row[start + i] · x[i] for i below count. */
function dot(row: Vector | Float64Array, start: number, x: Vector | Float64Array, count: number): number {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += (row[start + i] as number) * (x[i] as number);
  return sum;
}
