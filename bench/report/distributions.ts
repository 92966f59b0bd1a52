/** Latency distributions: a row a side, on one logarithmic axis of time. */
import * as Plot from '@observablehq/plot';
import type { Distribution } from '../harness/results.js';
import { figure } from './figure.js';
import type { Html } from './html.js';
import { type Place, rows } from './rows.js';
import { duration } from './units.js';

export interface DistributionRow {
  readonly name: string;
  readonly colour: string;
  readonly latency: Distribution;
}

type Domain = readonly [from: number, to: number];

export function distributions(title: string, hint: string, shown: readonly DistributionRow[], domain: Domain): Html {
  return figure({
    title,
    hint,
    summary: `${title}: ${shown.map(({ name, latency }) => `${name} ${inWords(latency)}`).join('; ')}.`,
    draw: (size) =>
      rows(size, {
        names: shown.map(({ name }) => name),
        columns: [
          { heading: 'p50', width: 74, values: shown.map(({ latency }) => duration(latency.p50)) },
          { heading: 'p99', width: 74, values: shown.map(({ latency }) => duration(latency.p99)) },
        ],
        domain,
        format: duration,
        nameWidth: 228,
        height: 34,
        marks: (place) => shown.flatMap((row, index) => marksOf(row, index, place, domain)),
      }),
  });
}

/** From the fastest call to p99.9: the few beyond it would squeeze all others into a corner, and the tables hold them. */
export function domainOf(latencies: readonly Distribution[]): Domain {
  const from = Math.min(...latencies.map(({ min, p50 }) => (min > 0 ? min : p50 / 10)));
  const to = Math.max(...latencies.map(({ p999 }) => p999));
  return [from / 1.2, to * 1.2];
}

const cellsPerDecade = 20;
/** A bucket is never wider: results.ts promises ten of them to a power of ten. */
const widest = 10 ** 0.1;

/**
 * Share of the calls by cell of a logarithmic grid, the fullest one being 1. A bucket reaches down to the one before it,
 * or as far as one can, and its calls are spread evenly over its cells.
 */
export function density({ buckets, min }: Distribution): readonly (readonly [x: number, share: number])[] {
  const cells = new Map<number, number>();
  for (const [index, [edge, count]] of buckets.entries()) {
    if (edge <= 0) continue;
    const below = buckets[index - 1]?.[0] ?? (min < edge ? min : 0);
    const from = Math.max(below, edge / widest);
    for (const [cell, share] of overlap(from, edge)) cells.set(cell, (cells.get(cell) ?? 0) + share * count);
  }
  if (cells.size === 0) return [];
  const fullest = Math.max(...cells.values());
  const [first, last] = [Math.min(...cells.keys()) - 1, Math.max(...cells.keys()) + 1];
  return Array.from({ length: last - first + 1 }, (_, index) => {
    const cell = first + index;
    return [10 ** ((cell + 0.5) / cellsPerDecade), (cells.get(cell) ?? 0) / fullest];
  });
}

function overlap(from: number, to: number): [cell: number, share: number][] {
  const [low, high] = [Math.log10(from) * cellsPerDecade, Math.log10(to) * cellsPerDecade];
  const first = Math.floor(low);
  return Array.from({ length: Math.floor(high) - first + 1 }, (_, index) => {
    const cell = first + index;
    return [cell, (Math.min(high, cell + 1) - Math.max(low, cell)) / (high - low)];
  });
}

function marksOf(
  { colour, latency }: DistributionRow,
  index: number,
  place: Place,
  [from, to]: Domain,
): Plot.Markish[] {
  const [floor, ceiling] = [place.floor(index), place.ceiling(index)];
  const inside = (x: number) => Math.min(Math.max(x, from), to);
  const shape = density(latency).filter(([x]) => x > from && x < latency.p999);
  const top = ([, share]: readonly [number, number]) => floor - share * (floor - ceiling);
  const area = { x: ([x]: readonly [number, number]) => x, curve: 'monotone-x' } as const;
  return [
    Plot.areaY(shape, { ...area, y1: floor, y2: top, fill: colour, fillOpacity: 0.22 }),
    Plot.lineY(shape, { ...area, y: top, stroke: colour, strokeWidth: 1.25 }),
    Plot.ruleY([floor], { x1: inside(latency.min), x2: inside(latency.p999), stroke: colour, strokeWidth: 1.25 }),
    Plot.ruleX([latency.p99], { x: inside, y1: floor - 6, y2: floor + 6, stroke: colour, strokeWidth: 2 }),
    Plot.dot([latency.p50], { x: inside, y: floor, r: 4, fill: colour, stroke: 'var(--page)', strokeWidth: 1.25 }),
  ];
}

function inWords({ p50, p99 }: Distribution): string {
  return `p50 ${duration(p50)}, p99 ${duration(p99)}`;
}
