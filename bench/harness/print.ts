/** The figures of a run in words and columns. */
import type { CaseResult, Environment, Ratio, SideResult, TargetResult } from './results.js';

export function environmentText({ cpu, cores, kernel, node, codec, commit, servers, versions }: Environment): string {
  const named = (entries: Readonly<Record<string, string>>) =>
    Object.entries(entries).map(([name, value]) => `${name} ${value}`);
  return [
    `${cpu}, ${cores} cores; ${kernel}; Node ${node}; codec ${codec}; commit ${commit}`,
    ...named(servers),
    named(versions).join(', '),
  ].join('\n');
}

export function caseText({ name, question, sides, ratios, notes }: CaseResult): string {
  const groups = [...new Set(sides.map(({ group }) => group))];
  const parts = [`\n${name}: ${question}`];
  for (const group of groups) {
    parts.push(
      '',
      ...table(
        [group, 'mean', 'p50', 'p90', 'p99', 'p99.9', 'per second', 'heap'],
        sides.filter((side) => side.group === group).map(sideRow),
      ),
    );
  }
  if (ratios.length > 0)
    parts.push('', ...table(['ratio', 'of', 'median', 'quartiles', 'rounds'], ratios.map(ratioRow)));
  if (notes.length > 0) parts.push('', ...notes.map((note) => `- ${note}`));
  return parts.join('\n');
}

export function targetsText(targets: readonly TargetResult[]): string {
  const rows = targets.map(({ what, relation, bound, value, low, high, met }) => [
    met === null ? '?' : met ? 'met' : 'SHORT',
    what,
    `${relation} ${bound}`,
    value === null ? 'not measured' : digits(value),
    low === undefined || high === undefined ? '' : `${digits(low)} to ${digits(high)}`,
  ]);
  const reasons = targets.flatMap(({ what, why }) => (why === undefined ? [] : [`- ${what}: ${why}`]));
  return ['', ...table(['', 'target', 'bound', 'value', 'quartiles'], rows), '', ...reasons].join('\n');
}

function sideRow({ name, latency, perSecond, heapBytes }: SideResult): string[] {
  const { mean, p50, p90, p99, p999 } = latency;
  const heap = heapBytes === undefined ? '' : `${digits(heapBytes)} B`;
  return [`  ${name}`, ...[mean, p50, p90, p99, p999].map(time), digits(perSecond), heap];
}

function ratioRow({ of, to, statistic, median, low, high, rounds }: Ratio): string[] {
  return [`  ${of} / ${to}`, statistic, digits(median), `${digits(low)} to ${digits(high)}`, String(rounds)];
}

function time(microseconds: number): string {
  if (microseconds < 1) return `${digits(microseconds * 1000)} ns`;
  return microseconds < 1000 ? `${digits(microseconds)} µs` : `${digits(microseconds / 1000)} ms`;
}

function digits(value: number): string {
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en-US');
  return String(Number(value.toPrecision(3)));
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  return all.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
