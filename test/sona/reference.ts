/** Training as it is defined, step by step on the whole of B, in float64 throughout: what the product is held to. */
import type { UserLoRAAdapter } from '../../src/adapter/adapter.js';
import type { Vector } from '../../src/adapter/matrix.js';
import type { ViewingEvent } from '../../src/sona/types.js';

/** One adapter's numbers in float64. */
export interface Plain {
  readonly rank: number;
  readonly inputDim: number;
  readonly outputDim: number;
  readonly scalingFactor: number;
  readonly base: Float64Array;
  readonly user: Float64Array;
}

export function plainOf(adapter: UserLoRAAdapter): Plain {
  const { rank, inputDim, outputDim, scalingFactor } = adapter;
  const base = Float64Array.from(adapter.baseLayerWeights.data);
  return { rank, inputDim, outputDim, scalingFactor, base, user: Float64Array.from(adapter.userLayerWeights.data) };
}

export function labelOf({ completionRate, rating, isRewatch }: ViewingEvent): number {
  const c = 0.5 + (completionRate - 0.3) / 1.4;
  const liking = rating === undefined ? 0.3 * c * 0.5 : (0.3 * (rating - 1)) / 4;
  return Math.min(1, Math.max(0, 0.4 * c + liking + (isRewatch ? 0.2 : 0)));
}

/** A·x. */
export function hiddenOf({ rank, inputDim, base }: Plain, x: Vector): number[] {
  return Array.from({ length: rank }, (_, k) => {
    let sum = 0;
    for (let j = 0; j < inputDim; j++) sum += (base[k * inputDim + j] ?? 0) * (x[j] ?? 0);
    return sum;
  });
}

/** preference · s·B·(A·x). */
export function logitOf(plain: Plain, x: Vector, preference: Vector): number {
  const { rank, outputDim, scalingFactor, user } = plain;
  const hidden = hiddenOf(plain, x);
  let logit = 0;
  for (let i = 0; i < outputDim; i++) {
    for (let k = 0; k < rank; k++)
      logit += scalingFactor * (preference[i] ?? 0) * (user[i * rank + k] ?? 0) * (hidden[k] ?? 0);
  }
  return logit;
}

export function lossOf(plain: Plain, x: Vector, preference: Vector, label: number): number {
  const logit = logitOf(plain, x, preference);
  // 1 - p is 1 / (1 + e^logit).
  return label * Math.log(1 + Math.exp(-logit)) + (1 - label) * Math.log(1 + Math.exp(logit));
}

/** ∂L/∂B[i][k] = (p − label) · s · preference[i] · (A·x)[k]. */
export function gradientOf(plain: Plain, x: Vector, preference: Vector, label: number): Float64Array {
  const { rank, outputDim, scalingFactor } = plain;
  const hidden = hiddenOf(plain, x);
  const p = 1 / (1 + Math.exp(-logitOf(plain, x, preference)));
  const gradient = new Float64Array(outputDim * rank);
  for (let i = 0; i < outputDim; i++) {
    for (let k = 0; k < rank; k++) {
      gradient[i * rank + k] = (p - label) * scalingFactor * (preference[i] ?? 0) * (hidden[k] ?? 0);
    }
  }
  return gradient;
}

/** Moves plain.user; returns the mean loss of each epoch. */
export function trainPlainly(
  plain: Plain,
  lesson: readonly { x: Vector; label: number }[],
  preference: Vector,
  { learningRate = 0.001, epochs = 5 } = {},
): number[] {
  return Array.from({ length: epochs }, () => {
    let loss = 0;
    for (const { x, label } of lesson) {
      loss += lossOf(plain, x, preference, label);
      const gradient = gradientOf(plain, x, preference, label);
      for (let i = 0; i < gradient.length; i++)
        plain.user[i] = (plain.user[i] ?? 0) - learningRate * (gradient[i] ?? 0);
    }
    return loss / lesson.length;
  });
}
