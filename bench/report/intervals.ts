/**
 * Ratios with their spread, and targets with their distance: a dot a row, left or right of a line at 1, on a logarithmic
 * axis, where 0 has no place.
 */
import * as Plot from '@observablehq/plot';
import type { Ratio, TargetResult } from '../harness/results.js';
import type { Colours } from './colours.js';
import { type Figure, figure } from './figure.js';
import { type Html, nothing } from './html.js';
import { type Place, type RowColumn, rows } from './rows.js';
import { bound, ratio as digits } from './units.js';

interface Interval {
  readonly name: string;
  readonly colour: string;
  readonly low: number;
  readonly middle: number;
  readonly high: number;
}

/** Quartiles over the rounds of a run, around their median. */
export function ratios(title: string, all: readonly Ratio[], colours: Colours): Html {
  const measured = all.filter(({ low }) => low > 0);
  const name = (ratio: Ratio) => `${pair(ratio)}, ${statisticName(ratio)}`;
  return intervals({
    title,
    hint: 'Dot: median over the rounds; bar: quartiles. At 1 both are equal; of times less is better, of throughput more.',
    summary: `${title}: ${measured.map((ratio) => `${name(ratio)} ${inWords(ratio)}`).join('; ')}.`,
    shown: measured.map((ratio) => ({ ...ratio, name: pair(ratio), colour: colours(ratio.of), middle: ratio.median })),
    columns: [
      { heading: 'of', width: 78, values: measured.map(statisticName) },
      { heading: 'median', width: 60, values: measured.map(({ median }) => digits(median)) },
      { heading: 'quartiles', width: 96, values: measured.map(quartiles) },
    ],
  });
}

/** How far each is from its bound, on an axis where the bound is 1 and less is better. */
export function distances(title: string, targets: readonly TargetResult[]): Html {
  const measured = targets.flatMap((target) => (target.value ? [{ ...target, value: target.value }] : []));
  return intervals({
    title,
    hint: 'The line is the bound. Left of it the target is met: at 0.5 with twice the room it needs.',
    summary: `${title}: ${measured.map((target) => `${target.what} ${digits(target.value)}, bound ${bound(target)}`).join('; ')}.`,
    shown: measured.map((target) => {
      const { what, value, low = value, high = value, met } = target;
      const [near, middle, far] = [low, value, high].map((one) => distance(target, one)).sort((a, b) => a - b);
      const colour = met ? 'var(--good)' : 'var(--bad)';
      return { name: what, colour, low: near ?? 1, middle: middle ?? 1, high: far ?? 1 };
    }),
    columns: [
      { heading: 'measured', width: 74, values: measured.map(({ value }) => digits(value)) },
      { heading: 'target', width: 64, values: measured.map(bound) },
    ],
  });
}

export function pair({ of, to }: Ratio): string {
  return `${of} / ${to}`;
}

export function statisticName({ statistic }: Ratio): string {
  return statistic === 'perSecond' ? 'throughput' : statistic;
}

export function quartiles({ low, high }: { readonly low: number; readonly high: number }): string {
  return `${digits(low)}–${digits(high)}`;
}

function inWords(ratio: Ratio): string {
  return `${digits(ratio.median)}, quartiles ${quartiles(ratio)}`;
}

function distance({ relation, bound }: TargetResult, value: number): number {
  return relation === '>=' ? bound / value : value / bound;
}

interface Intervals extends Omit<Figure, 'draw'> {
  readonly shown: readonly Interval[];
  readonly columns: readonly RowColumn[];
}

function intervals({ shown, columns, ...about }: Intervals): Html {
  if (shown.length === 0) return nothing;
  return figure({
    ...about,
    draw: (size) =>
      rows(size, {
        names: shown.map(({ name }) => name),
        columns,
        domain: domainOf(shown),
        line: 1,
        format: String,
        nameWidth: 300,
        height: 22,
        marks: (place) => marksOf(shown, place),
      }),
  });
}

/** All intervals and the line, with room at both sides. */
function domainOf(shown: readonly Interval[]): [number, number] {
  const from = Math.min(1, ...shown.map(({ low }) => low));
  const to = Math.max(1, ...shown.map(({ high }) => high));
  return [from / 1.15, to * 1.15];
}

function marksOf(shown: readonly Interval[], place: Place): Plot.Markish[] {
  return shown.flatMap(({ colour, low, middle, high }, index) => {
    const y = place.middle(index);
    return [
      Plot.ruleY([y], { x1: low, x2: high, stroke: colour, strokeWidth: 8, strokeOpacity: 0.35 }),
      Plot.dot([middle], { x: (x) => x, y, r: 4, fill: colour, stroke: 'var(--page)' }),
    ];
  });
}
