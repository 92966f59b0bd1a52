/**
 * A chart with a row for each thing: its name, marks over an axis that all rows share, and its figures. On a desk the
 * name stands left of the marks and the figures right of them; on a phone both stand above.
 */
import * as Plot from '@observablehq/plot';
import type { Size } from './figure.js';
import { logTicks } from './ticks.js';
import { brief, type Format } from './units.js';

export interface RowColumn {
  readonly heading: string;
  readonly values: readonly string[];
  /** On a desk, in pixels. */
  readonly width: number;
}

export interface Rows {
  readonly names: readonly string[];
  readonly columns: readonly RowColumn[];
  /** Logarithmic. */
  readonly domain: readonly [from: number, to: number];
  readonly format: Format;
  /** Where on the axis all marks are compared with, if anywhere. */
  readonly line?: number;
  /** Of the names, on a desk, in pixels. */
  readonly nameWidth: number;
  /** Of the marks, in pixels. */
  readonly height: number;
  readonly marks: (place: Place) => Plot.Markish[];
}

/** Where the marks of a row are: y of its floor, of its middle, and of its ceiling. */
export interface Place {
  floor(row: number): number;
  middle(row: number): number;
  ceiling(row: number): number;
}

const textLine = 18;

export function rows({ name: size }: Size, shown: Rows): Plot.PlotOptions {
  const { names, columns, domain, format, nameWidth, height } = shown;
  const wide = size === 'wide';
  const row = height + (wide ? 10 : 14 + 2 * textLine);
  const place: Place = {
    floor: (index) => (index + 1) * row,
    middle: (index) => (index + 1) * row - height / 2,
    ceiling: (index) => (index + 1) * row - height,
  };
  const total = names.length * row;
  const [marginTop, marginBottom] = [wide ? textLine : 0, 28];
  const columnWidths = columns.reduce((sum, { width }) => sum + width, 0);
  const [marginLeft, marginRight] = wide ? [nameWidth, columnWidths + 8] : [14, 14];
  const ticks = logTicks(...domain, wide ? 8 : 4);
  return {
    height: marginTop + total + marginBottom,
    marginTop,
    marginBottom,
    marginLeft,
    marginRight,
    x: { type: 'log', domain: [...domain] },
    y: { type: 'linear', domain: [0, total], range: [marginTop, marginTop + total], axis: null },
    marks: [
      ...grid(ticks, shown, wide ? [[0, total]] : names.map((_, index) => [place.ceiling(index), place.floor(index)])),
      Plot.axisX(ticks, {
        text: (tick) => brief(format(tick)),
        tickSize: 0,
        label: null,
        fill: 'var(--soft)',
        fontSize: 12,
      }),
      ...shown.marks(place),
      ...(wide ? besideMarks(names, columns, place, nameWidth) : aboveMarks(names, columns, place)),
    ],
  };
}

/** Behind the marks only: on a phone a line through all rows would cross out the names. */
function grid(ticks: readonly number[], { line }: Rows, spans: readonly (readonly number[])[]): Plot.Markish[] {
  return spans.flatMap(([y1 = 0, y2 = 0]) => [
    Plot.ruleX(ticks, { y1, y2, stroke: 'var(--line)' }),
    ...(line === undefined ? [] : [Plot.ruleX([line], { y1, y2, stroke: 'var(--soft)', strokeWidth: 1.25 })]),
  ]);
}

function besideMarks(names: Rows['names'], columns: Rows['columns'], place: Place, nameWidth: number): Plot.Markish[] {
  const y = (_: string, index: number) => place.middle(index);
  const right = { frameAnchor: 'right', textAnchor: 'end' } as const;
  return [
    Plot.text(names, {
      y,
      text: same,
      frameAnchor: 'left',
      textAnchor: 'start',
      dx: -nameWidth,
      fill: 'currentColor',
      fontSize: 13,
      lineWidth: (nameWidth - 20) / 13,
      lineHeight: 1.15,
    }),
    ...columns.flatMap(({ heading, values }, index) => {
      const dx = columns.slice(0, index + 1).reduce((sum, { width }) => sum + width, 0);
      return [
        Plot.text(values, { ...right, y, text: same, dx, fill: 'currentColor', fontSize: 13 }),
        Plot.text([heading], {
          ...right,
          frameAnchor: 'top-right',
          text: same,
          dx,
          dy: 4 - textLine,
          fill: 'var(--soft)',
          fontSize: 12,
        }),
      ];
    }),
  ];
}

function aboveMarks(names: Rows['names'], columns: Rows['columns'], place: Place): Plot.Markish[] {
  const figures = (_: string, index: number) =>
    columns.map(({ heading, values }) => `${heading} ${values[index]}`).join('  ·  ');
  const common: Plot.TextOptions = {
    y: (_: string, index: number) => place.ceiling(index),
    dx: -13,
    fontSize: 12,
    stroke: 'var(--page)',
    strokeWidth: 4,
    frameAnchor: 'left',
    textAnchor: 'start',
  };
  return [
    Plot.text(names, {
      ...common,
      text: same,
      dy: -textLine - 12,
      fill: 'currentColor',
      fontWeight: 600,
      lineWidth: 22,
      textOverflow: 'ellipsis',
    }),
    Plot.text(names, { ...common, text: figures, dy: -13, fill: 'var(--soft)' }),
  ];
}

function same(text: string): string {
  return text;
}
