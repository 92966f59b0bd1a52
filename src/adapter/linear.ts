/**
 * What an adapter computes, on plain typed arrays: y = s·B·(A·x) and its scores. Sums run in float64 in the order of the
 * rows and are rounded to f32 only where a result is stored in one. Wrong lengths are refused before anything is written.
 */
import { types } from 'node:util';
import { InvalidAdapterError } from '../errors.js';
import type { Vector } from './matrix.js';
import type { Weights } from './record.js';

export function forward(weights: Weights, input: Vector, out?: Float32Array): Float32Array {
  const { rank, inputDim, outputDim, scalingFactor, base, user } = weights;
  expectLength('input', input, inputDim);
  if (out !== undefined) expectLength('out', out, outputDim);
  const result = out ?? new Float32Array(outputDim);
  const hidden = timesVector(base, rank, inputDim, input);
  for (let row = 0; row < outputDim; row++) result[row] = scalingFactor * dot(user, row * rank, hidden, rank);
  return result;
}

/** p·(s·B·h) = s·(Bᵀ·p)·h: the output vector is never formed. */
export function score(weights: Weights, input: Vector, preference: Vector): number {
  const { rank, inputDim, outputDim, scalingFactor, base, user } = weights;
  expectLength('input', input, inputDim);
  expectLength('preference', preference, outputDim);
  const hidden = timesVector(base, rank, inputDim, input);
  return scalingFactor * dot(hidden, 0, transposedTimesVector(user, outputDim, rank, preference), rank);
}

/** p·(s·B·A·x) = (s·Aᵀ·(Bᵀ·p))·x: the bracket is the same for every candidate, which leaves one dot product for each. */
export function scoreMany(weights: Weights, inputs: Vector, preference: Vector, out?: Float32Array): Float32Array {
  const { rank, inputDim, outputDim, scalingFactor, base, user } = weights;
  expectVector('inputs', inputs);
  const count = inputs.length / inputDim;
  if (!Number.isInteger(count)) {
    throw new InvalidAdapterError(`inputs must hold rows of ${inputDim}, given ${inputs.length} numbers`);
  }
  expectLength('preference', preference, outputDim);
  if (out !== undefined) expectLength('out', out, count);
  const result = out ?? new Float32Array(count);
  const direction = transposedTimesVector(
    base,
    rank,
    inputDim,
    transposedTimesVector(user, outputDim, rank, preference),
  );
  for (let i = 0; i < count; i++) result[i] = scalingFactor * dot(inputs, i * inputDim, direction, inputDim);
  return result;
}

export function expectLength(name: string, vector: Vector, length: number): void {
  expectVector(name, vector);
  if (vector.length !== length) {
    throw new InvalidAdapterError(`${name} must have length ${length}, given ${vector.length}`);
  }
}

function expectVector(name: string, vector: Vector): void {
  if (!types.isFloat32Array(vector)) throw new InvalidAdapterError(`${name} must be a Float32Array`);
}

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
