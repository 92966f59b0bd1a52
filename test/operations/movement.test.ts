/** Norms and movements without the whole product, against sums over the whole product. */
import { describe, expect, test } from 'vitest';
import { UserLoRAAdapter } from '../../src/adapter/adapter.js';
import { movement, productNorm } from '../../src/operations/movement.js';

const USER = '00000000-0000-0000-0000-000000000001';
const SHAPE = { rank: 3, inputDim: 17, outputDim: 11 };

const random = (seed: number, shape = SHAPE) => new UserLoRAAdapter(USER, shape).initializeRandom(seed);

/** s·B·A, every number of it. */
function whole({ scalingFactor, userLayerWeights: b, baseLayerWeights: a }: UserLoRAAdapter): number[] {
  return Array.from({ length: b.rows * a.cols }, (_, at) => {
    const [i, j] = [Math.floor(at / a.cols), at % a.cols];
    let sum = 0;
    for (let k = 0; k < a.rows; k++) sum += (b.data[i * b.cols + k] as number) * (a.data[k * a.cols + j] as number);
    return scalingFactor * sum;
  });
}

const dot = (one: number[], two: number[]) => one.reduce((sum, value, i) => sum + value * (two[i] as number), 0);
const length = (one: number[]) => Math.sqrt(dot(one, one));
const minus = (one: number[], two: number[]) => one.map((value, i) => value - (two[i] as number));

/** a is b, up to rounding. */
const expectNear = (a: number | null | undefined, b: number) =>
  expect(Math.abs(((a ?? 0) - b) / b)).toBeLessThan(1e-12);

test('the norm of the product', () => {
  const adapter = random(1);
  expectNear(productNorm(adapter), length(whole(adapter)));
});

test.each([
  ['of the same shape', random(1), random(2)],
  ['of another rank and scale', random(1), random(2, { ...SHAPE, rank: 5 })],
  ['of a scale alone', random(1), new UserLoRAAdapter(USER, { ...SHAPE, alpha: 7 }).initializeRandom(1)],
])('how far the product moved: %s', (_, before, after) => {
  const { product } = movement(before, after, 3);
  const [x, y] = [whole(before), whole(after)];
  expectNear(product?.before, length(x));
  expectNear(product?.after, length(y));
  expectNear(product?.moved, length(minus(y, x)));
  expectNear(product?.relative, length(minus(y, x)) / length(x));
  expectNear(product?.cosine, dot(x, y) / length(x) / length(y));
});

test('a step of one weight by its last bit is not lost in the digits of the product', () => {
  const before = random(1);
  const after = before.clone().updateWeights((_, b) => {
    const bits = new Uint32Array(b.buffer, b.byteOffset, b.length);
    bits[4] = (bits[4] as number) ^ 1;
  });
  const { product, B } = movement(before, after, 1);
  const step = Math.abs((after.userLayerWeights.data[4] as number) - (before.userLayerWeights.data[4] as number));
  // It is weight (1, 1): what moved is row 1 of the product, by step times row 1 of A.
  const row = Array.from(
    { length: SHAPE.inputDim },
    (_, j) => before.baseLayerWeights.data[SHAPE.inputDim + j] as number,
  );
  expectNear(product?.moved, before.scalingFactor * step * length(row));
  expectNear(B?.moved, step);
});

describe('nothing to compare', () => {
  test('with zeros: no share and no angle', () => {
    const zero = new UserLoRAAdapter(USER, SHAPE);
    const { A, product } = movement(zero, random(1), 1);
    expect(A).toMatchObject({ before: 0, relative: null, cosine: null });
    expect(product).toMatchObject({ before: 0, relative: null, cosine: null });
  });

  test('with other inputs: B alone', () => {
    const { A, B, product } = movement(random(1), random(1, { ...SHAPE, inputDim: 4 }), 1);
    expect([A, product]).toEqual([null, null]);
    expect(B?.cosine).toBeLessThanOrEqual(1);
  });
});

test('the weights that changed most, of both layers, first', () => {
  const before = random(1);
  const after = before.clone().updateWeights((a, b) => {
    a[0] = (a[0] as number) + 0.001;
    a[20] = 5;
    b[7] = -9;
    b[8] = 7;
  });
  const { largest } = movement(before, after, 3);
  expect(largest.map(({ layer, row, column, after: to }) => [layer, row, column, to])).toEqual([
    ['B', 2, 1, -9],
    ['B', 2, 2, 7],
    ['A', 1, 3, 5],
  ]);
  expect(movement(before, before, 3).largest).toEqual([]);
});
