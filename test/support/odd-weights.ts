/** Weights, as bits of an f32, where codecs may differ: zeros, subnormals of both precisions, the largest half, and no numbers. */
import type { Weights } from '../../src/adapter/record.js';
import { integerBelow } from './adapters.js';

type Random = () => number;

const SIGN = 0x80000000;
const INFINITE = 0x7f800000;
/** 65,520: from here on a half is infinite. */
const TOO_LARGE = 0x477ff000;
/** 2^-26 and 2^-14: between them halves are subnormal, or round to zero. */
const [SMALLEST, NORMAL] = [0x32800000, 0x38800000];

/** A small adapter of weights made of these bits. */
export function weightsOfBits(random: Random, bits: (random: Random) => number): Weights {
  const [rank, inputDim, outputDim] = [
    1 + integerBelow(random, 4),
    1 + integerBelow(random, 9),
    1 + integerBelow(random, 9),
  ];
  const layer = (length: number) => {
    const weights = new Uint32Array(length);
    for (let i = 0; i < length; i++) weights[i] = bits(random);
    return new Float32Array(weights.buffer);
  };
  return {
    userId: '0f8fad5b-d9cb-469f-a165-70867728950e',
    rank,
    inputDim,
    outputDim,
    scalingFactor: Math.fround(random() * 2 ** integerBelow(random, 100)),
    base: layer(rank * inputDim),
    user: layer(outputDim * rank),
  };
}

/** Below what a half holds. */
export function smallBits(random: Random): number {
  const sign = random() < 0.5 ? 0 : SIGN;
  switch (integerBelow(random, 6)) {
    case 0:
      return sign;
    case 1:
      return sign + integerBelow(random, 2 ** 23);
    case 2:
      return sign + SMALLEST + integerBelow(random, NORMAL - SMALLEST);
    case 3:
      return sign + TOO_LARGE - 1 - integerBelow(random, 2 ** 14);
    // Half a step above a half, give or take one.
    case 4:
      return sign + NORMAL + 2 ** 12 * integerBelow(random, (TOO_LARGE - NORMAL) / 2 ** 12) + integerBelow(random, 2);
    default:
      return sign + integerBelow(random, TOO_LARGE);
  }
}

/** Finite, and infinite as a half. */
export function hugeBits(random: Random): number {
  const above = random() < 0.5 ? integerBelow(random, 2) : integerBelow(random, INFINITE - TOO_LARGE);
  return (random() < 0.5 ? 0 : SIGN) + TOO_LARGE + above;
}

/** Infinite, or a NaN of any payload. */
export function notFiniteBits(random: Random): number {
  const payload = random() < 0.5 ? 0 : integerBelow(random, 2 ** 23);
  return (random() < 0.5 ? 0 : SIGN) + INFINITE + payload;
}
