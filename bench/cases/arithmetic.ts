/** What it costs to compute with an adapter of the default shape, 8/512/768, against doing it in JavaScript. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { codec, decodeAdapter } from 'lora-store';
import { decodeRecord } from '#dist/adapter/codec.js';
import { portableLinear } from '#dist/adapter/portable-linear.js';
import type { Weights } from '#dist/adapter/record.js';
import { root } from '../../test/support/root.js';
import type { Bench, Case } from '../harness/bench.js';

const CANDIDATES = 1000;

export default {
  question: 'What does it cost to compute with an adapter, against plain typed-array JavaScript?',
  async run(bench) {
    assert.equal(codec.kind, 'native', codec.reason);
    const bytes = readFileSync(join(root, 'test/fixtures/bincode/seed-8x512-768.bin'));
    await forward(bench, bytes);
    await scoreMany(bench, bytes);
    bench.note('forward and scoreMany sum in float64; so do the loops in JavaScript, which has no other numbers.');
  },
} satisfies Case;

async function forward(bench: Bench, bytes: Buffer): Promise<void> {
  const adapter = decodeAdapter(bytes);
  const weights = decodeRecord(bytes);
  const input = numbers(weights.inputDim);
  const expected = naiveForward(weights, input);
  const check = (out: Float32Array) => near(out, expected);
  const outs = [0, 1, 2].map(() => new Float32Array(weights.outputDim)) as [Float32Array, Float32Array, Float32Array];
  const { ratio } = await bench.compare({
    group: 'forward',
    sides: [
      { name: 'forward', run: () => adapter.forward(input, outs[0]), check },
      { name: 'plain loop', run: () => plainForward(weights, input, outs[1]), check },
      {
        name: 'portable',
        run: () => {
          portableLinear.forward(weights, input, outs[2]);
          return outs[2];
        },
        check,
      },
    ],
    seconds: 0.45 * bench.seconds,
  });
  bench.target('forward / plain typed-array JavaScript', '<=', 0.25, ratio('forward', 'plain loop'));
  ratio('forward', 'portable');
}

async function scoreMany(bench: Bench, bytes: Buffer): Promise<void> {
  const adapter = decodeAdapter(bytes);
  const weights = decodeRecord(bytes);
  const { inputDim, outputDim } = weights;
  const inputs = numbers(CANDIDATES * inputDim);
  const preference = numbers(outputDim);
  const expected = Float32Array.from({ length: CANDIDATES }, (_, i) => {
    const output = naiveForward(weights, inputs.subarray(i * inputDim, (i + 1) * inputDim));
    return output.reduce((sum, value, at) => sum + value * (preference[at] as number), 0);
  });
  const check = (out: Float32Array) => near(out, expected);
  const outs = [0, 1, 2].map(() => new Float32Array(CANDIDATES)) as [Float32Array, Float32Array, Float32Array];
  const { ratio } = await bench.compare({
    group: `scoreMany of ${CANDIDATES.toLocaleString('en-US')}`,
    sides: [
      { name: 'scoreMany', run: () => adapter.scoreMany(inputs, preference, outs[0]), check },
      { name: 'plain loop of forwards', run: () => plainScores(weights, inputs, preference, outs[1]), check },
      {
        name: 'portable: the same algebra',
        run: () => {
          portableLinear.scoreMany(weights, inputs, preference, outs[2]);
          return outs[2];
        },
        check,
      },
    ],
    seconds: 0.45 * bench.seconds,
  });
  bench.target(
    'scoreMany of 1,000 / a JavaScript loop of the same algebra',
    '<=',
    0.1,
    ratio('scoreMany', 'portable: the same algebra'),
  );
  ratio('scoreMany', 'plain loop of forwards');
}

/** What a user writes who has never heard of us. */
function plainForward(
  { rank, inputDim, outputDim, scalingFactor, base, user }: Weights,
  x: Float32Array,
  y: Float32Array,
) {
  const hidden = new Float32Array(rank);
  for (let r = 0; r < rank; r++) {
    let sum = 0;
    for (let i = 0; i < inputDim; i++) sum += (base[r * inputDim + i] as number) * (x[i] as number);
    hidden[r] = sum;
  }
  for (let o = 0; o < outputDim; o++) {
    let sum = 0;
    for (let r = 0; r < rank; r++) sum += (user[o * rank + r] as number) * (hidden[r] as number);
    y[o] = scalingFactor * sum;
  }
  return y;
}

function plainScores(weights: Weights, inputs: Float32Array, preference: Float32Array, scores: Float32Array) {
  const { inputDim, outputDim } = weights;
  const y = new Float32Array(outputDim);
  for (let i = 0; i < scores.length; i++) {
    plainForward(weights, inputs.subarray(i * inputDim, (i + 1) * inputDim), y);
    let sum = 0;
    for (let o = 0; o < outputDim; o++) sum += (y[o] as number) * (preference[o] as number);
    scores[i] = sum;
  }
  return scores;
}

/** In doubles throughout, and written differently from what it checks. */
function naiveForward({ rank, inputDim, outputDim, scalingFactor, base, user }: Weights, x: Float32Array): number[] {
  const row = (matrix: Float32Array, at: number, length: number) => [
    ...matrix.subarray(at * length, (at + 1) * length),
  ];
  const dot = (a: number[], b: number[]) => a.reduce((sum, value, i) => sum + value * (b[i] as number), 0);
  const hidden = Array.from({ length: rank }, (_, r) => dot(row(base, r, inputDim), [...x]));
  return Array.from({ length: outputDim }, (_, o) => scalingFactor * dot(row(user, o, rank), hidden));
}

function near(values: Float32Array, expected: ArrayLike<number>): void {
  assert.equal(values.length, expected.length);
  const scale = Math.max(...Array.from(expected, Math.abs));
  for (const [i, value] of values.entries()) {
    assert.ok(Math.abs(value - (expected[i] as number)) <= 1e-5 * scale, `${i}: ${value}, not ${expected[i]}`);
  }
}

/** In [-1, 1), the same every time. */
function numbers(length: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => (Math.imul(i + 1, 0x9e3779b1) >>> 8) / 2 ** 23 - 1);
}
