/** What training computes: the gradient against finite differences, the run against the definition step by step, the loss. */
import { describe, expect, test } from 'vitest';
import { UserLoRAAdapter } from '../../src/adapter/adapter.js';
import { type Descent, descent, descentInPieces } from '../../src/adapter/descent.js';
import { UpdateUserLoRA } from '../../src/sona/update-user-lora.js';
import { randomVector, seeded } from '../support/adapters.js';
import { gradientOf, labelOf, lossOf, plainOf, trainPlainly } from './reference.js';
import { lessonFor, separableLesson } from './support.js';

const userId = '01234567-89ab-cdef-0123-456789abcdef';
const shapes = [
  { rank: 1, inputDim: 1, outputDim: 1 },
  { rank: 3, inputDim: 7, outputDim: 5 },
  { rank: 8, inputDim: 512, outputDim: 768 },
  { rank: 17, inputDim: 33, outputDim: 20 },
];
/** Events × rank of a run that is a tenth longer, in its five epochs, than what is computed at once. */
const LONG = 22_000;
const adapterOf = (shape: (typeof shapes)[0], seed = 5) => new UserLoRAAdapter(userId, shape).initializeRandom(seed);

function farthest(one: ArrayLike<number>, other: ArrayLike<number>): number {
  expect(one.length).toBe(other.length);
  return Math.max(...Array.from(one, (value, i) => Math.abs(value - (other[i] ?? Number.NaN))));
}

const largest = (values: ArrayLike<number>) => farthest(values, new Float64Array(values.length));

describe.each(shapes)('rank $rank, $inputDim → $outputDim', (shape) => {
  test('the gradient is the slope of the loss, by finite differences in float64', () => {
    const random = seeded(2);
    const plain = plainOf(adapterOf(shape));
    const [x, preference] = [randomVector(random, shape.inputDim), randomVector(random, shape.outputDim)];
    const gradient = gradientOf(plain, x, preference, 0.7);
    // A sample of a large layer, first and last weight among it.
    const step = Math.max(1, Math.floor((gradient.length - 1) / 40));
    for (let i = 0; i < gradient.length; i += step) {
      const at = (shift: number) => {
        const user = plain.user.slice();
        user[i] = (user[i] ?? 0) + shift;
        return lossOf({ ...plain, user }, x, preference, 0.7);
      };
      const slope = (at(1e-5) - at(-1e-5)) / 2e-5;
      expect(Math.abs(slope - (gradient[i] ?? 0))).toBeLessThan(1e-7 * Math.max(1, largest(gradient)));
    }
  });

  test('one step on one event goes down that gradient', async () => {
    const { events, embedding, preference } = lessonFor(shape, 1);
    const adapter = adapterOf(shape);
    const plain = plainOf(adapter);
    const gradient = gradientOf(plain, embedding('c0'), preference, labelOf(events[0] as (typeof events)[0]));
    // As large a step as leaves the rounding of the weights behind.
    const learningRate = 1 / largest(gradient);
    await UpdateUserLoRA.execute(adapter, events, embedding, preference, {
      learningRate,
      epochs: 1,
      minTrainingEvents: 1,
    });
    const moved = Array.from(
      adapter.userLayerWeights.data,
      (weight, i) => ((plain.user[i] ?? 0) - weight) / learningRate,
    );
    expect(farthest(moved, gradient)).toBeLessThan(1e-5 * largest(gradient));
  });

  test.each([
    ['as configured by default', {}, 25, 25],
    ['on contents seen again', {}, 60, 7],
    ['so long that it runs beside the event loop', { learningRate: 0.00001 }, Math.ceil(LONG / shape.rank), 10],
    ['in many epochs of larger steps', { learningRate: 0.0015, epochs: 30 }, 40, 20],
  ])('a run is the steps of its definition, one by one: %s', async (_, config, count, contents) => {
    const { events, embedding, preference } = lessonFor(shape, count, contents);
    const adapter = adapterOf(shape);
    const plain = plainOf(adapter);
    const before = plain.user.slice();
    const report = await UpdateUserLoRA.execute(adapter, events, embedding, preference, config);
    const lesson = events.map((event) => ({ x: embedding(event.contentId), label: labelOf(event) }));
    const losses = trainPlainly(plain, lesson, preference, config);

    expect(report).toMatchObject({ trained: true, events: count });
    expect(farthest(report.lossPerEpoch, losses)).toBeLessThan(2e-5);
    const way = farthest(plain.user, before);
    expect(way).toBeGreaterThan(0);
    // Of the way that the weights went, and the rounding of a weight itself.
    expect(farthest(adapter.userLayerWeights.data, plain.user)).toBeLessThan(
      2e-5 * way + 2 ** -23 * largest(plain.user),
    );
  });

  test('where the events are separable the loss falls in every epoch, and the liked end above the left', async () => {
    const { events, embedding, embeddings, preference } = separableLesson(shape);
    const adapter = adapterOf(shape);
    const { lossPerEpoch } = await UpdateUserLoRA.execute(adapter, events, embedding, preference, { epochs: 60 });
    for (let epoch = 1; epoch < 60; epoch++) {
      expect(lossPerEpoch[epoch]).toBeLessThan(lossPerEpoch[epoch - 1] as number);
    }
    const scoresOf = (kind: string) =>
      [...embeddings].filter(([id]) => id.startsWith(kind)).map(([, vector]) => adapter.score(vector, preference));
    const untrained = adapterOf(shape);
    const gap = (of: UserLoRAAdapter) =>
      of.score(embedding('liked0'), preference) - of.score(embedding('left1'), preference);
    expect(scoresOf('liked')).toHaveLength(10);
    expect(gap(adapter)).toBeGreaterThan(gap(untrained));
  });
});

test('the first loss is of the weights as they came: before the first step', async () => {
  const shape = { rank: 3, inputDim: 7, outputDim: 5 };
  const { events, embedding, preference } = lessonFor(shape, 1);
  const adapter = adapterOf(shape);
  const expected = lossOf(plainOf(adapter), embedding('c0'), preference, labelOf(events[0] as (typeof events)[0]));
  const config = { learningRate: 10, epochs: 1, minTrainingEvents: 1 };
  const { lossPerEpoch } = await UpdateUserLoRA.execute(adapter, events, embedding, preference, config);
  expect(lossPerEpoch[0]).toBeCloseTo(expected, 6);
});

describe('a descent', () => {
  const run = (logit: number, label: number): Descent => ({
    hidden: Float32Array.of(1),
    contents: Uint32Array.of(0),
    labels: Float64Array.of(label),
    reflected: Float32Array.of(logit),
    scalingFactor: 1,
    squaredPreference: 1,
    learningRate: 1,
    epochs: 1,
  });

  test.each([
    [1000, 0, 1000, 1],
    [1000, 1, 0, 0],
    [-1000, 0, 0, 0],
    [-1000, 1, 1000, -1],
    [3e38, 0.25, 0.75 * 3e38, 0.75],
    [-3e38, 0.25, 0.25 * 3e38, -0.25],
    [0, 0.5, Math.LN2, 0],
    [1e-30, 0.5, Math.LN2, 0],
  ])('of a logit of %f and label %f has loss and step, finite', (logit, label, loss, step) => {
    const { losses, direction } = descent(run(logit, label));
    expect(Math.abs((losses[0] ?? Number.NaN) / (loss || 1) - (loss ? 1 : 0))).toBeLessThan(1e-6);
    expect(direction[0]).toBeCloseTo(step, 12);
  });

  test.each([-40, -37, -2, 0, 2, 37, 40, 745])('of logit %f keeps what small probabilities there are', (logit) => {
    // ln(1 + e^z) by its series where it is small: what is left of 1 - p once p was rounded to 1.
    const { losses } = descent(run(logit, 1));
    const expected = logit > 30 ? Math.exp(-logit) : logit < -30 ? -logit : Math.log(1 + Math.exp(-logit));
    expect(Math.abs((losses[0] as number) - expected)).toBeLessThanOrEqual(1e-14 * Math.abs(expected));
  });

  test('in pieces of any size is the same run', () => {
    const random = seeded(4);
    const whole: Descent = {
      ...run(0.3, 0),
      hidden: randomVector(random, 5),
      contents: Uint32Array.of(0, 1, 2, 3, 4, 2, 1),
      labels: Float64Array.from({ length: 7 }, random),
      epochs: 3,
    };
    for (const steps of [1, 2, 7, 20, 21, 22]) {
      const pieces = descentInPieces(whole, steps);
      let turns = 0;
      let piece = pieces.next();
      for (; !piece.done; piece = pieces.next()) turns++;
      expect([turns, piece.value]).toEqual([Math.floor(21 / steps), descent(whole)]);
    }
  });
});
