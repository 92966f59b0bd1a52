/** What the charts are drawn from: numbers as text, ticks, shapes and colours. */
import { expect, test } from 'vitest';
import { coloursOf } from '../../bench/report/colours.js';
import { density } from '../../bench/report/distributions.js';
import { linearTicks, logTicks } from '../../bench/report/ticks.js';
import { axisUnit, brief, bytes, count, duration, ratio } from '../../bench/report/units.js';
import { seededResults } from './seeded-results.js';

const spaced = (text: string) => text.replaceAll('\u00a0', ' ');

test.each([
  [0.0203, '20.3 ns', duration],
  [0.9999, '1.00 µs', duration],
  [11, '11.0 µs', duration],
  [4570, '4.57 ms', duration],
  [999_900, '1.00 s', duration],
  [3.6e9, '3600 s', duration],
  [0, '0', duration],
  [41_052, '41.1 kB', bytes],
  [4000, '4k', count],
  [19, '19', count],
  [1_234_567, '1.23M', count],
  [0.0312, '0.031', ratio],
  [0.307, '0.31', ratio],
  [12.44, '12.4', ratio],
  [1234.5, '1235', ratio],
])('%d is written as %s', (value, text, format) => {
  expect(spaced(format(value))).toBe(text);
});

test('a tick needs no digits after the point that are nothing', () => {
  expect(['10.0 µs', '2.50 ms', '100 ns', '1.05 s', '0'].map(brief)).toEqual([
    '10 µs',
    '2.5 ms',
    '100 ns',
    '1.05 s',
    '0',
  ]);
});

test('the unit in the label of an axis goes to its numbers', () => {
  const time = axisUnit({ label: 'p99 in ms', scale: 'log' });
  expect([time.label, spaced(time.format(2))]).toEqual(['p99', '2.00 ms']);
  const memory = axisUnit({ label: 'RSS in bytes', scale: 'linear' });
  expect([memory.label, spaced(memory.format(2e6))]).toEqual(['RSS', '2.00 MB']);
  expect(axisUnit({ label: 'rows', scale: 'log' }).label).toBe('rows');
});

test('ticks stand on round numbers, three at least and never more than fit', () => {
  expect(logTicks(0.05, 700, 8)).toEqual([0.1, 1, 10, 100]);
  expect(logTicks(1e-9, 1e9, 4)).toEqual([1e-9, 1e-4, 10, 1e6]);
  expect(logTicks(800, 60_000, 4)).toEqual([1000, 3000, 10_000, 30_000]);
  expect(logTicks(0.96, 1.04, 5)).toEqual([0.96, 0.98, 1, 1.02, 1.04]);
  expect(linearTicks(0, 290, 6)).toEqual([0, 50, 100, 150, 200, 250]);
});

test('the hill of a distribution is as high as its calls are dense, and nothing where none fell', () => {
  const edge = (cells: number) => 10 ** (cells / 20);
  const [latency] = seededResults().cases.flatMap(({ sides }) => sides.map(({ latency }) => latency));
  if (latency === undefined) throw new Error('the seeded results have no sides');
  const buckets = [20, 21, 30].map((cells, index): [number, number] => [edge(cells), [40, 80, 20][index] ?? 0]);
  const hill = density({ ...latency, min: edge(19), buckets });
  const heightAt = (cells: number) =>
    hill.find(([x]) => Math.abs(Math.log10(x) * 20 - cells) < 0.01)?.[1] ?? Number.NaN;
  expect(heightAt(19.5)).toBeCloseTo(0.5);
  expect(heightAt(20.5)).toBeCloseTo(1);
  expect(heightAt(24.5)).toBe(0);
  // As wide as a bucket can be, because the one below it is empty.
  expect(heightAt(28.5)).toBeCloseTo(0.125);
  expect(heightAt(29.5)).toBeCloseTo(0.125);
});

test('no two sides of a case look alike, and what is judged is told from what it is judged by', () => {
  const results = seededResults();
  const colours = coloursOf(results);
  for (const { sides } of results.cases) {
    expect(new Set(sides.map(({ name }) => colours(name))).size).toBe(sides.length);
  }
  expect(['peekAdapter', 'loadAdapter'].map(colours)).toEqual(['var(--blue)', 'var(--teal)']);
  expect(colours('bare lru-cache get')).toBe('var(--orange)');
});
