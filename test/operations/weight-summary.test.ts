import { expect, test } from 'vitest';
import { summarize } from '../../src/operations/weight-summary.js';

const of = (...data: number[]) => summarize({ rows: 1, cols: data.length, data: Float32Array.from(data) }, 4);

test('size and spread', () => {
  expect(of(-3, 0, 0, 3, 5)).toMatchObject({ rows: 1, cols: 5, min: -3, max: 5, mean: 1, zeros: 2 });
  expect(of(3, 4).norm).toBe(5);
  expect(of(1, 3).deviation).toBe(1);
});

test('bins from the least to the greatest, which is in the last', () => {
  expect(of(0, 0.5, 1, 2.5, 4).histogram).toEqual([
    { from: 0, to: 1, count: 2 },
    { from: 1, to: 2, count: 1 },
    { from: 2, to: 3, count: 1 },
    { from: 3, to: 4, count: 1 },
  ]);
});

test('one bin where all are the same', () => {
  expect(of(0.25, 0.25).histogram).toEqual([{ from: 0.25, to: 0.25, count: 2 }]);
});

test('the widest numbers there are', () => {
  const most = 3.4028234663852886e38;
  expect(of(-most, most).histogram.map(({ count }) => count)).toEqual([1, 0, 0, 1]);
  expect(of(-most, most).norm).toBeCloseTo(most * Math.SQRT2, -30);
});
