/** The arithmetic on every kind of lanes, and the portable one, against sums in float64: bounds, lengths, alignment. */
import { execFileSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import type { Kernels } from '../../src/adapter/native.js';
import type { Weights } from '../../src/adapter/record.js';
import { addon, linears, seeded } from '../support/adapters.js';

/** Of Σ|aᵢ·bᵢ| of the sums that a result is made of. */
const BOUND = 1e-5;

const random = seeded(3);
/** One float behind an eight-byte boundary, among neighbours that nobody may touch. */
function vector(length: number, value: (index: number) => number): Float32Array {
  return Float32Array.from({ length: length + 2 }, (_, i) =>
    i % (length + 1) === 0 ? Number.NaN : value(i - 1),
  ).subarray(1, length + 1);
}

const distributions: Record<string, () => number> = {
  'of both signs': () => 2 * random() - 1,
  'of one sign': () => 0.5 + random() / 2,
  'of all magnitudes': () => (random() < 0.5 ? -1 : 1) * 10 ** (8 * random() - 4),
  'the same': () => 1 / 3,
};

function weightsOf(rank: number, inputDim: number, outputDim: number, value: () => number): Weights {
  const [base, user] = [vector(rank * inputDim, value), vector(outputDim * rank, value)];
  return { userId: '', rank, inputDim, outputDim, scalingFactor: Math.fround(1.7), base, user };
}

interface Sum {
  value: number;
  /** Sum of the absolute products. */
  size: number;
}

/** s·B·(A·x) in float64, row by row. */
function reference({ rank, inputDim, outputDim, scalingFactor: s, base, user }: Weights, x: Float32Array): Sum[] {
  const hidden = Array.from({ length: rank }, (_, k) =>
    sumOf(inputDim, (i) => (base[k * inputDim + i] ?? 0) * (x[i] ?? 0)),
  );
  return Array.from({ length: outputDim }, (_, row) => {
    const sum = { value: 0, size: 0 };
    for (const [k, { value, size }] of hidden.entries()) {
      sum.value += s * (user[row * rank + k] ?? 0) * value;
      sum.size += Math.abs(s * (user[row * rank + k] ?? 0)) * size;
    }
    return sum;
  });
}

function sumOf(length: number, product: (index: number) => number): Sum {
  const sum = { value: 0, size: 0 };
  for (let i = 0; i < length; i++) {
    sum.value += product(i);
    sum.size += Math.abs(product(i));
  }
  return sum;
}

function expectWithin(actual: number, { value, size }: Sum): void {
  expect(Math.abs(actual - value)).toBeLessThanOrEqual(BOUND * size);
}

const shapes: [rank: number, inputDim: number, outputDim: number][] = [
  [1, 1, 1],
  [2, 3, 4],
  [3, 7, 5],
  [4, 16, 33],
  [7, 31, 17],
  [8, 512, 768],
  [9, 100, 65],
  [16, 130, 40],
  [17, 64, 16],
  [64, 20, 50],
  [65, 20, 50],
  [130, 9, 35],
  [1, 20_000, 3],
  [2, 5, 20_000],
];

describe.each(linears)('%s', (_, linear) => {
  describe.each(Object.entries(distributions))('weights and inputs %s', (_, value) => {
    test.each(shapes)('rank %i, %i → %i', (rank, inputDim, outputDim) => {
      const weights = weightsOf(rank, inputDim, outputDim, value);
      const rows = [0, 1, 2].map(() => vector(inputDim, value));
      const preference = vector(outputDim, value);
      const scores = rows.map((row) => {
        const out = vector(outputDim, () => Number.NaN);
        linear.forward(weights, row, out);
        const outputs = reference(weights, row);
        for (const [i, sum] of outputs.entries()) expectWithin(out[i] as number, sum);
        const score = sumOf(outputDim, (i) => (preference[i] ?? 0) * (outputs[i]?.value ?? 0));
        score.size = sumOf(outputDim, (i) => (preference[i] ?? 0) * (outputs[i]?.size ?? 0)).size;
        expectWithin(linear.score(weights, row, preference), score);
        return score;
      });
      const many = vector(3, () => Number.NaN);
      linear.scoreMany(weights, Float32Array.from(rows.flatMap((row) => [...row])), preference, many);
      for (const [i, score] of scores.entries()) expectWithin(many[i] as number, score);
      // What lies around the results is as it was.
      expect([...new Float32Array(many.buffer)].map(Number.isNaN)).toEqual([true, false, false, false, true]);
    });

    test.each(shapes)('the parts of a training step at rank %i, %i → %i', (rank, inputDim, outputDim) => {
      const weights = weightsOf(rank, inputDim, outputDim, value);
      const { base, user } = weights;
      const [input, preference] = [vector(inputDim, value), vector(outputDim, value)];
      const [hidden, reflected] = [vector(rank, () => Number.NaN), vector(rank, () => Number.NaN)];
      linear.project(weights, input, hidden);
      linear.reflect(weights, preference, reflected);
      const before = user.slice();
      linear.descend(user, preference, hidden);
      for (let k = 0; k < rank; k++) {
        const at = (row: number, col: number, cols: number) => row * cols + col;
        expectWithin(
          hidden[k] as number,
          sumOf(inputDim, (i) => (base[at(k, i, inputDim)] ?? 0) * (input[i] ?? 0)),
        );
        expectWithin(
          reflected[k] as number,
          sumOf(outputDim, (i) => (before[at(i, k, rank)] ?? 0) * (preference[i] ?? 0)),
        );
        for (const row of [0, outputDim - 1]) {
          const [old, step] = [before[at(row, k, rank)] ?? 0, (preference[row] ?? 0) * (hidden[k] ?? 0)];
          expectWithin(user[at(row, k, rank)] as number, { value: old - step, size: Math.abs(old) + Math.abs(step) });
        }
      }
      for (const { buffer, length } of [hidden, reflected, user]) {
        const floats = new Float32Array(buffer);
        expect([floats[0], floats[length + 1]]).toEqual([Number.NaN, Number.NaN]);
      }
    });
  });
});

describe('the addon refuses', () => {
  const kernels = addon().kernels() as Kernels;
  type Args = Parameters<Kernels['scoreMany']>;
  const of = (length: number) => new Float32Array(length);
  const valid = (): Args => [of(14), of(10), 1, of(7), of(5), of(1)];
  const changed = (index: number, value: unknown) => valid().with(index, value as never) as Args;
  const detached = of(7);
  structuredClone(detached.buffer, { transfer: [detached.buffer] });

  test('nothing that fits', () => {
    expect(kernels.scoreMany(...valid())).toBeUndefined();
    expect(kernels.forward(of(14), of(10), 1, of(7), of(5))).toBeUndefined();
    expect(kernels.score(of(14), of(10), 1, of(7), of(5))).toBe(0);
  });

  test.each([
    ['no arguments', [] as unknown as Args],
    ['weights in float64', changed(0, new Float64Array(14))],
    ['an array', changed(1, [1])],
    ['a scaling that is no number', changed(2, '1')],
    ['shared memory', changed(3, new Float32Array(new SharedArrayBuffer(28)))],
    ['detached memory', changed(3, detached)],
    ['a preference of doubles', changed(4, new Float64Array(5))],
    ['no out', changed(5, undefined)],
  ])('%s: TypeError', (_, args) => {
    expect(() => kernels.scoreMany(...args)).toThrow(TypeError);
  });

  test.each([
    ['no base', changed(0, of(0))],
    ['no user', changed(1, of(0))],
    ['a base of another rank', changed(0, of(13))],
    ['a user of a fractional rank', changed(1, of(11))],
    ['inputs that are no rows', changed(3, of(8))],
    ['no preference', changed(4, of(0))],
    ['too few scores', changed(5, of(0))],
    ['too many scores', changed(5, of(2))],
  ])('%s: RangeError', (_, args) => {
    expect(() => kernels.scoreMany(...args)).toThrow(RangeError);
  });

  test('lengths of forward and score that do not fit', () => {
    expect(() => kernels.forward(of(14), of(10), 1, of(6), of(5))).toThrow(RangeError);
    expect(() => kernels.forward(of(14), of(10), 1, of(7), of(0))).toThrow(RangeError);
    expect(() => kernels.score(of(14), of(10), 1, of(7), of(4))).toThrow(RangeError);
  });

  test.each(['project', 'reflect', 'descend'] as const)('%s of lengths that do not fit', (name) => {
    expect(() => kernels[name](of(6), of(name === 'project' ? 2 : 3), of(4))).toThrow(RangeError);
    expect(() => kernels[name](of(6), of(0), of(2))).toThrow(RangeError);
    expect(() => kernels[name](of(6), of(3), new Float64Array(2) as unknown as Float32Array)).toThrow(TypeError);
    expect(kernels[name](of(6), of(3), of(2))).toBeUndefined();
  });

  test('the name of lanes as anything but a string', () => {
    expect(() => addon().kernels(1 as unknown as string)).toThrow(TypeError);
  });
});

describe('LORA_STORE_SIMD', () => {
  /** What a process says that computes with these lanes. */
  function run(simd: string): string {
    const script = `import { codec, UserLoRAAdapter } from 'lora-store';
      const adapter = new UserLoRAAdapter('${'0'.repeat(8)}-0000-4000-8000-000000000000', { rank: 1, inputDim: 2, outputDim: 1, alpha: 1 });
      adapter.updateWeights((base, user) => (base.set([1, 2]), user.set([3])));
      console.log(codec.simd, adapter.forward(Float32Array.of(4, 5))[0]);`;
    const env = { ...process.env, LORA_STORE_SIMD: simd };
    return execFileSync(process.execPath, ['--input-type=module', '-e', script], {
      env,
      encoding: 'utf8',
      stdio: 'pipe',
    });
  }

  const offered = linears.map(([name]) => name).filter((name) => name !== 'portable');

  test.each(offered)('%s is what is used', (simd) => {
    expect(run(simd)).toBe(`${simd} 42\n`);
  });

  test('unset: the best of this CPU', () => {
    expect(run('')).toBe(`${offered[0]} 42\n`);
  });

  test('a name that nobody knows, or that this CPU lacks, is refused with those that it has', () => {
    const lacked = offered.includes('neon') ? 'avx2' : 'neon';
    for (const simd of ['sse9', lacked]) {
      expect(() => run(simd)).toThrow(`LORA_STORE_SIMD is '${simd}': this CPU and build offer ${offered.join(', ')}`);
    }
  });
});
