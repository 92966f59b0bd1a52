/**
 * Random numbers for fresh weights. One seed gives one sequence on every platform: 32-bit integer arithmetic and one
 * correctly rounded product. Good enough to initialise a layer, not for anything that must not be guessed.
 */
import { InvalidAdapterError } from '../errors.js';

/** Uniform in [0, 1), in steps of 2^-32. */
export type Random = () => number;

/** sfc32 (C. Doty-Humphrey), its state filled from the seed; without one, from the system's randomness. */
export function randomFrom(seed?: number): Random {
  let [a, b, c, counter] = seed === undefined ? randomState() : stateOf(seed);
  const next = (): number => {
    const sum = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + sum;
    c |= 0;
    return sum >>> 0;
  };
  // Neighbouring seeds start out alike; twelve rounds are what the author prescribes to part them.
  for (let round = 0; round < 12; round++) next();
  return () => next() / 2 ** 32;
}

/** Fills a layer after Glorot and Bengio 2010: uniform in ±sqrt(6 / (fanIn + fanOut)). */
export function fillXavier(weights: Float32Array, fanIn: number, fanOut: number, random: Random): void {
  const limit = Math.sqrt(6 / (fanIn + fanOut));
  for (let i = 0; i < weights.length; i++) weights[i] = (2 * random() - 1) * limit;
}

type State = [number, number, number, number];

function stateOf(seed: number): State {
  if (!Number.isSafeInteger(seed))
    throw new InvalidAdapterError('a seed is an integer between -(2^53 - 1) and 2^53 - 1');
  return [0, seed | 0, Math.floor(seed / 2 ** 32) | 0, 1];
}

function randomState(): State {
  const [a = 0, b = 0, c = 0] = crypto.getRandomValues(new Int32Array(3));
  return [a, b, c, 1];
}
