/** Something against something: growth, memory, latency against throughput. A line a series, named where it ends. */
import * as Plot from '@observablehq/plot';
import type { Axis, Curve } from '../harness/results.js';
import type { Colours } from './colours.js';
import { figure, type Size, scalesOf } from './figure.js';
import type { Html } from './html.js';
import { linearTicks, logTicks } from './ticks.js';
import { axisUnit, brief } from './units.js';

type Series = Curve['series'][number];

const labelHeight = 15;
const widestLabel = 180;

export function curve(shown: Curve, colours: Colours): Html {
  const [x, y] = [axisUnit(shown.x), axisUnit(shown.y)];
  return figure({
    title: shown.name,
    hint: `${described(shown.y)} against ${described(shown.x)}.`,
    summary: `${shown.name}: ${shown.series.map((series) => inWords(series, x.format, y.format)).join('; ')}.`,
    key: shown.series.map(({ name }) => [name, colours(name)]),
    draw: (size) => drawing(shown, colours, size),
  });
}

function drawing(shown: Curve, colours: Colours, size: Size): Plot.PlotOptions {
  const wide = size.name === 'wide';
  const series = shown.series.map((one) => ({
    ...one,
    points: one.points.filter(([x, y]) => fits(shown.x, x) && fits(shown.y, y)),
  }));
  const points = series.flatMap((one) => one.points);
  const [x, y] = [
    scale(
      shown.x,
      points.map(([x]) => x),
    ),
    scale(
      shown.y,
      points.map(([, y]) => y),
    ),
  ];
  const [xTicks, yTicks] = [ticks(x, wide ? 7 : 4), ticks(y, 6)];
  const axis = { tickSize: 0, fill: 'var(--soft)', fontSize: 12, label: null } as const;
  const options: Plot.PlotOptions = {
    width: size.width,
    height: wide ? 320 : 250,
    marginTop: 34,
    marginBottom: 44,
    marginLeft: 58,
    marginRight: wide ? labelMargin(series) : 16,
    x,
    y,
    marks: [
      Plot.gridY(yTicks, { stroke: 'var(--line)', strokeOpacity: 1 }),
      Plot.axisY(yTicks, { ...axis, text: tickText(shown.y) }),
      Plot.axisX(xTicks, { ...axis, text: tickText(shown.x) }),
      ...axisTitles(shown),
      ...series.flatMap(({ name, points }) => [
        Plot.line(points, { x: '0', y: '1', stroke: colours(name), strokeWidth: 2, strokeLinejoin: 'round' }),
        Plot.dot(points, { x: '0', y: '1', r: 3.5, fill: colours(name), stroke: 'var(--page)' }),
      ]),
    ],
  };
  return wide ? { ...options, marks: [...(options.marks ?? []), ...endLabels(series, options, colours)] } : options;
}

function tickText(axis: Axis): (tick: number) => string {
  const { format } = axisUnit(axis);
  return (tick) => brief(format(tick));
}

function axisTitles(shown: Curve): Plot.Markish[] {
  const common = { text: (label: string) => label, fill: 'var(--soft)', fontSize: 12 } as const;
  return [
    Plot.text([axisUnit(shown.y).label], { ...common, frameAnchor: 'top-left', textAnchor: 'start', dx: -58, dy: -32 }),
    Plot.text([axisUnit(shown.x).label], { ...common, frameAnchor: 'bottom-right', textAnchor: 'end', dy: 38 }),
  ];
}

/** Beside the last point of each line, moved apart where two would overlap. */
function endLabels(series: readonly Series[], options: Plot.PlotOptions, colours: Colours): Plot.Markish[] {
  const y = scalesOf(options).scale('y');
  const ends = series
    .flatMap(({ name, points }) => {
      const end = points.at(-1);
      return end === undefined ? [] : [{ name, end, at: Number(y?.apply(end[1])) }];
    })
    .sort((a, b) => a.at - b.at);
  let free = Number.NEGATIVE_INFINITY;
  const placed = ends.map((label) => {
    const at = Math.max(label.at, free);
    free = at + labelHeight;
    return { ...label, dy: at - label.at };
  });
  return placed.map(({ name, end, dy }) =>
    Plot.text([end], {
      x: '0',
      y: '1',
      text: () => name,
      textAnchor: 'start',
      dx: 9,
      dy,
      fill: colours(name),
      fontSize: 13,
      fontWeight: 600,
      stroke: 'var(--page)',
      strokeWidth: 4,
      lineWidth: 12,
      textOverflow: 'ellipsis',
    }),
  );
}

/** About what the longest of them takes; one that is longer yet is cut. */
function labelMargin(series: readonly Series[]): number {
  return Math.min(widestLabel, 20 + 8 * Math.max(0, ...series.map(({ name }) => name.length)));
}

interface Scale {
  readonly type: 'linear' | 'log';
  readonly domain: [from: number, to: number];
}

/** A linear axis begins at 0, or a small difference looks like a large one. */
function scale({ scale: type }: Axis, values: readonly number[]): Scale {
  if (values.length === 0) return { type, domain: [1, 10] };
  const [least, most] = [Math.min(...values), Math.max(...values)];
  return { type, domain: type === 'log' ? [least / 1.3, most * 1.3] : [Math.min(0, least), most * 1.06 || 1] };
}

function ticks({ type, domain }: Scale, most: number): number[] {
  return type === 'log' ? logTicks(...domain, most) : linearTicks(...domain, most);
}

/** A logarithmic axis has no place for nothing; the table beside the chart has. */
function fits({ scale }: Axis, value: number): boolean {
  return Number.isFinite(value) && (scale === 'linear' || value > 0);
}

function described(axis: Axis): string {
  return axis.scale === 'log' ? `${axisUnit(axis).label} (logarithmic)` : axisUnit(axis).label;
}

function inWords({ name, points }: Series, x: (value: number) => string, y: (value: number) => string): string {
  const [first, last] = [points.at(0), points.at(-1)];
  if (first === undefined || last === undefined) return `${name} has no points`;
  return `${name} from ${y(first[1])} at ${x(first[0])} to ${y(last[1])} at ${x(last[0])}`;
}
