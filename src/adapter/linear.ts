/**
 * What an adapter computes: y = s·B·(A·x) and its scores. Checks lengths and memory before anything is written, and leaves
 * the arithmetic to the implementation of this process (portable-linear.ts is the one to read).
 */
import { types } from 'node:util';
import { InvalidAdapterError } from '../errors.js';
import { implementation } from './implementation.js';
import type { Vector } from './matrix.js';
import type { Weights } from './record.js';

export function forward(weights: Weights, input: Vector, out?: Float32Array): Float32Array {
  const { inputDim, outputDim } = weights;
  expectLength('input', input, inputDim);
  if (out !== undefined) expectLength('out', out, outputDim);
  const result = out ?? new Float32Array(outputDim);
  implementation.linear.forward(weights, input, result);
  return result;
}

export function score(weights: Weights, input: Vector, preference: Vector): number {
  expectLength('input', input, weights.inputDim);
  expectLength('preference', preference, weights.outputDim);
  return implementation.linear.score(weights, input, preference);
}

export function scoreMany(weights: Weights, inputs: Vector, preference: Vector, out?: Float32Array): Float32Array {
  const { inputDim, outputDim } = weights;
  expectVector('inputs', inputs);
  const count = inputs.length / inputDim;
  if (!Number.isInteger(count)) {
    throw new InvalidAdapterError(`inputs must hold rows of ${inputDim}, given ${inputs.length} numbers`);
  }
  expectLength('preference', preference, outputDim);
  if (out !== undefined) expectLength('out', out, count);
  const result = out ?? new Float32Array(count);
  implementation.linear.scoreMany(weights, inputs, preference, result);
  return result;
}

export function expectLength(name: string, vector: Vector, length: number): void {
  expectVector(name, vector);
  if (vector.length !== length) {
    throw new InvalidAdapterError(`${name} must have length ${length}, given ${vector.length}`);
  }
}

// Memory that another thread may write is refused: the addon does not read it, and the portable code does as the addon.
export function expectVector(name: string, vector: Vector): void {
  if (!types.isFloat32Array(vector)) throw new InvalidAdapterError(`${name} must be a Float32Array`);
  if (types.isSharedArrayBuffer(vector.buffer)) {
    throw new InvalidAdapterError(`${name} must not be in a SharedArrayBuffer: pass a copy, ${name}.slice()`);
  }
}
