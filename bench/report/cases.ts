/** The part of the page that one case fills: its question, its charts, the figures behind them, and what is unfair. */
import type { CaseResult, Curve, SideResult } from '../harness/results.js';
import type { Colours } from './colours.js';
import { curve } from './curves.js';
import { distributions, domainOf } from './distributions.js';
import { type Html, html, nothing } from './html.js';
import { ratios } from './intervals.js';
import { type Column, table } from './table.js';
import { axisUnit, bytes, count, duration } from './units.js';

export function caseSection(shown: CaseResult, colours: Colours): Html {
  const title = caseTitle(shown);
  const domain = domainOf(shown.sides.map(({ latency }) => latency));
  return html`<section aria-labelledby="${caseId(shown)}"><h2 id="${caseId(shown)}">${title}</h2>
<p>${shown.question}</p>
${groupsOf(shown).map((group) => groupSection(group, domain, colours))}
${ratios(`${title}: ratios`, shown.ratios, colours)}
${shown.curves.map((one) => html`${curve(one, colours)}${pointsOf(one)}`)}
${notes(shown)}
</section>`;
}

/** How to read a chart is said once a case. */
function groupsOf(shown: CaseResult): Group[] {
  const names = [...new Set(shown.sides.map(({ group }) => group))];
  const title = (name: string) => (names.length === 1 ? caseTitle(shown) : `${caseTitle(shown)}, ${name}`);
  return names.map((name, index) => ({
    title: title(name),
    hint: index === 0 ? howToRead : '',
    sides: shown.sides.filter(({ group }) => group === name),
  }));
}

export function caseId({ name }: CaseResult): string {
  return `case-${name}`;
}

/** 'redis-hit' is 'Redis hit'. */
export function caseTitle({ name }: CaseResult): string {
  const words = name.replaceAll('-', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}

interface Group {
  readonly title: string;
  readonly hint: string;
  readonly sides: readonly SideResult[];
}

function groupSection({ title, hint, sides }: Group, domain: readonly [number, number], colours: Colours): Html {
  const shown = sides.map(({ name, latency }) => ({ name, latency, colour: colours(name) }));
  const columns = latencyColumns.filter(({ of }) => sides.some((side) => !['', '1'].includes(of(side))));
  return html`${distributions(`${title}: latency of a call`, `${hint}${batchNote(sides)}`, shown, domain)}
${table(
  `${title}: the figures`,
  columns,
  sides.map((side) => columns.map(({ of }) => of(side))),
)}`;
}

export const howToRead =
  'Logarithmic. Hills show where the calls fall, all drawn equally high. Dot: p50; tick: p99; the line ends at p99.9. ';

function batchNote(sides: readonly SideResult[]): string {
  const batched = sides.some(({ callsPerSample = 1 }) => callsPerSample > 1);
  return batched ? 'Calls too short for the clock were timed several at once: a sample is their mean.' : '';
}

/** Those with something to say about some side. */
const latencyColumns: readonly (Column & { readonly of: (side: SideResult) => string })[] = [
  { heading: 'side', of: ({ name }) => name },
  ...(['p50', 'p90', 'p99', 'p999', 'max'] as const).map((statistic) => ({
    heading: statistic === 'p999' ? 'p99.9' : statistic,
    numeric: true,
    of: ({ latency }: SideResult) => duration(latency[statistic]),
  })),
  { heading: 'per second', numeric: true, of: ({ perSecond }) => count(perSecond) },
  { heading: 'heap a call', numeric: true, of: ({ heapBytes }) => (heapBytes === undefined ? '' : bytes(heapBytes)) },
  { heading: 'samples', numeric: true, of: ({ latency }) => count(latency.count) },
  { heading: 'calls each', numeric: true, of: ({ callsPerSample = 1 }) => count(callsPerSample) },
];

function pointsOf({ name, x, y, series }: Curve): Html {
  const [units, values] = [axisUnit(x), axisUnit(y)];
  const columns = [
    { heading: 'series' },
    { heading: units.label, numeric: true },
    { heading: values.label, numeric: true },
  ];
  const rows = series.flatMap((one) => one.points.map(([x, y]) => [one.name, units.format(x), values.format(y)]));
  return html`<details><summary>${name}: the figures</summary>${table(name, columns, rows)}</details>`;
}

function notes({ notes }: CaseResult): Html {
  if (notes.length === 0) return nothing;
  return html`<h3>What is unfair, or left out</h3>
<ul class="notes">${notes.map((note) => html`<li>${note}</li>`)}</ul>`;
}
