/** What an adapter computes, by whichever implementation this process has: the formula, and what is refused. */
import { describe, expect, test } from 'vitest';
import { UserLoRAAdapter } from '../../src/adapter/adapter.js';
import { decodeAdapter, encodeAdapter } from '../../src/adapter/codec.js';
import type { Vector } from '../../src/adapter/matrix.js';
import { InvalidAdapterError } from '../../src/errors.js';
import { goldenBytes, randomVector, seeded } from '../support/adapters.js';

const random = seeded(11);
const shapes = [
  { rank: 1, inputDim: 1, outputDim: 1 },
  { rank: 3, inputDim: 7, outputDim: 5 },
  { rank: 8, inputDim: 512, outputDim: 768 },
];

function adapterOf(shape: { rank: number; inputDim: number; outputDim: number }): UserLoRAAdapter {
  return new UserLoRAAdapter('01234567-89ab-cdef-0123-456789abcdef', shape).initializeRandom(5);
}

/** Column by column of the product matrix B·A: another order of operations than the one under test. */
function outputOf({ baseLayerWeights: a, userLayerWeights: b, scalingFactor }: UserLoRAAdapter, x: Vector): number[] {
  return Array.from({ length: b.rows }, (_, row) => {
    let sum = 0;
    for (let col = 0; col < a.cols; col++) {
      let element = 0;
      for (let k = 0; k < a.rows; k++) element += (b.data[row * b.cols + k] ?? 0) * (a.data[k * a.cols + col] ?? 0);
      sum += element * (x[col] ?? 0);
    }
    return scalingFactor * sum;
  });
}

// What a sum may be off by is measured in kernels.test.ts; here it is the formula that counts.
function expectClose(actual: number, expected: number): void {
  expect(Math.abs(actual - expected)).toBeLessThanOrEqual(1e-5 * Math.max(1, Math.abs(expected)));
}

describe.each(shapes)('rank $rank, $inputDim → $outputDim', (shape) => {
  const adapter = adapterOf(shape);
  const input = randomVector(random, shape.inputDim);
  const preference = randomVector(random, shape.outputDim);
  const expected = outputOf(adapter, input);
  const expectedScore = expected.reduce((sum, value, index) => sum + value * (preference[index] ?? 0), 0);

  test('forward is the formula', () => {
    const output = adapter.forward(input);
    expect(output).toBeInstanceOf(Float32Array);
    expect(output).toHaveLength(shape.outputDim);
    output.forEach((value, index) => {
      expectClose(value, expected[index] as number);
    });
  });

  test('forward writes into out, and returns it', () => {
    const out = new Float32Array(shape.outputDim).fill(Number.NaN);
    expect(adapter.forward(input, out)).toBe(out);
    expect(out).toEqual(adapter.forward(input));
  });

  test('score is dot(forward(input), preference)', () => {
    expectClose(adapter.score(input, preference), expectedScore);
  });

  test('scoreMany is score() of each row, whatever else is in the batch', () => {
    const rows = [0, 1, 2, 3].map(() => randomVector(random, shape.inputDim));
    const inputs = Float32Array.from(rows.flatMap((row) => [...row]));
    const scores = adapter.scoreMany(inputs, preference);
    rows.forEach((row, index) => {
      expectClose(scores[index] as number, adapter.score(row, preference));
      expect(adapter.scoreMany(row, preference)[0]).toBe(scores[index]);
    });
    const out = new Float32Array(4);
    expect(adapter.scoreMany(inputs, preference, out)).toBe(out);
    expect(out).toEqual(scores);
  });

  test('a round trip through the record changes no bit of any of them', () => {
    const decoded = decodeAdapter(encodeAdapter(adapter));
    expect(decoded.forward(input)).toEqual(adapter.forward(input));
    expect(decoded.score(input, preference)).toBe(adapter.score(input, preference));
    expect(decoded.scoreMany(input, preference)).toEqual(adapter.scoreMany(input, preference));
  });
});

describe('the result', () => {
  test('scores are not clamped', () => {
    const adapter = adapterOf({ rank: 1, inputDim: 1, outputDim: 1 });
    adapter.updateWeights((base, user) => {
      base.fill(10);
      user.fill(10);
    });
    expect(adapter.score(Float32Array.of(3), Float32Array.of(2))).toBe(16 * 600);
    expect(adapter.score(Float32Array.of(-3), Float32Array.of(2))).toBe(-16 * 600);
  });

  test('forward may write over its own input', () => {
    const adapter = adapterOf({ rank: 2, inputDim: 6, outputDim: 6 });
    const input = randomVector(random, 6);
    const expected = adapter.forward(input);
    expect(adapter.forward(input, input)).toEqual(expected);
  });
});

describe('wrong lengths are refused, with the expected and the given one', () => {
  const adapter = decodeAdapter(goldenBytes('odd-3x7-5.bin'));
  const [x, p] = [new Float32Array(7), new Float32Array(5)];
  const shared = new Float32Array(new SharedArrayBuffer(28));
  const of = (length: number) => new Float32Array(length);

  test.each([
    ['forward input', () => adapter.forward(of(6)), 'input must have length 7, given 6'],
    ['forward out', () => adapter.forward(x, of(6)), 'out must have length 5, given 6'],
    ['score input', () => adapter.score(of(8), p), 'input must have length 7, given 8'],
    ['score preference', () => adapter.score(x, of(0)), 'preference must have length 5, given 0'],
    ['scoreMany inputs', () => adapter.scoreMany(of(15), p), 'inputs must hold rows of 7, given 15'],
    ['scoreMany preference', () => adapter.scoreMany(of(14), of(4)), 'preference must have length 5, given 4'],
    ['scoreMany out', () => adapter.scoreMany(of(14), p, of(3)), 'out must have length 2, given 3'],
    ['an array', () => adapter.forward([1, 2, 3, 4, 5, 6, 7] as unknown as Vector), 'input must be a Float32Array'],
    ['float64', () => adapter.score(new Float64Array(7) as unknown as Vector, p), 'input must be a Float32Array'],
    ['shared memory', () => adapter.forward(shared), 'input must not be in a SharedArrayBuffer: pass a copy'],
    ['shared out', () => adapter.scoreMany(x, p, shared.subarray(0, 1)), 'out must not be in a SharedArrayBuffer'],
    ['nothing', () => adapter.scoreMany(undefined as unknown as Vector, p), 'inputs must be a Float32Array'],
  ])('%s', (_, call, message) => {
    expect(call).toThrow(InvalidAdapterError);
    expect(call).toThrow(message);
  });

  test('no candidates have no scores', () => {
    expect(adapter.scoreMany(of(0), p)).toHaveLength(0);
  });
});
