/**
 * A run of training steps in vectors of the rank: what they make of Bᵀ·preference is all that the next step has to know of
 * B, so B itself moves once, in the end (docs/personalisation.md). The readable reference, in float64.
 */
import { setImmediate as turn } from 'node:timers/promises';

/** Steps × rank between two turns of the event loop: 1 to 3 ms at rank 8. */
const PIECE = 80_000;

/** A run of gradient steps on the user layer, one for each event in each epoch, that share one preference. */
export interface Descent {
  /** [contents × rank]: A·x of each content. */
  readonly hidden: Float32Array;
  /** [events]: the content of each event, a row of hidden. */
  readonly contents: Uint32Array;
  /** [events], 0 to 1. */
  readonly labels: Float64Array;
  /** [rank]: Bᵀ·preference before the first step. */
  readonly reflected: Float32Array;
  readonly scalingFactor: number;
  /** |preference|². */
  readonly squaredPreference: number;
  readonly learningRate: number;
  readonly epochs: number;
}

export interface Descended {
  /** [rank]: B -= preference ⊗ direction is what all steps together do. */
  readonly direction: Float64Array;
  /** [epochs]: mean cross-entropy of the events, each taken before its step. */
  readonly losses: Float64Array;
}

/** The run in pieces of some steps each: whoever has the event loop to mind lets it turn in between. */
export function* descentInPieces(run: Descent, steps: number): Generator<undefined, Descended> {
  const { hidden, contents, labels, reflected, scalingFactor, squaredPreference, learningRate, epochs } = run;
  const rank = reflected.length;
  const current = Float64Array.from(reflected);
  const direction = new Float64Array(rank);
  const losses = new Float64Array(epochs);
  let left = steps;
  for (let epoch = 0; epoch < epochs; epoch++) {
    let loss = 0;
    for (let event = 0; event < contents.length; event++) {
      const start = (contents[event] as number) * rank;
      const label = labels[event] as number;
      let sum = 0;
      for (let k = 0; k < rank; k++) sum += (current[k] as number) * (hidden[start + k] as number);
      const logit = scalingFactor * sum;
      // -label·log(p) - (1 - label)·log(1 - p) without the logarithm of a p that was rounded to 0, nor an e to the power of
      // more than 0: finite for every finite logit.
      const decay = Math.exp(-Math.abs(logit));
      loss += Math.max(logit, 0) - logit * label + Math.log1p(decay);
      const p = (logit < 0 ? decay : 1) / (1 + decay);
      const factor = learningRate * (p - label) * scalingFactor;
      for (let k = 0; k < rank; k++) {
        const step = factor * (hidden[start + k] as number);
        direction[k] = (direction[k] as number) + step;
        current[k] = (current[k] as number) - squaredPreference * step;
      }
      if (--left === 0) {
        left = steps;
        yield;
      }
    }
    losses[epoch] = loss / contents.length;
  }
  return { direction, losses };
}

/** The whole run, a few milliseconds at a time: the event loop turns in between. */
export async function descentBetweenTurns(run: Descent): Promise<Descended> {
  const pieces = descentInPieces(run, Math.max(1, Math.floor(PIECE / run.reflected.length)));
  for (;;) {
    const piece = pieces.next();
    if (piece.done) return piece.value;
    await turn();
  }
}

/** The whole run at once. */
export function descent(run: Descent): Descended {
  return descentInPieces(run, Number.POSITIVE_INFINITY).next().value as Descended;
}
