/** A run as a table to read, and, where it found something, as files to look into. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Violation, violationKinds } from './checker.js';
import type { History } from './history.js';
import type { ChaosResult } from './run.js';

const dumps = fileURLToPath(new URL('../../.cache/chaos', import.meta.url));

export function counts(items: readonly { readonly kind: string }[]): Record<string, number> {
  const result: Record<string, number> = {};
  for (const { kind } of items) result[kind] = (result[kind] ?? 0) + 1;
  return result;
}

export interface Summary {
  readonly reads: Record<string, number>;
  readonly writes: Record<string, number>;
  readonly faults: Record<string, number>;
  readonly violations: Record<string, number>;
  readonly errors: Record<string, number>;
  readonly operations: number;
  readonly unavailable: number;
}

export function summary({ history, verdict }: ChaosResult): Summary {
  const errors = counts(history.failures.map(({ error }) => ({ kind: error })));
  const reads = counts(history.reads);
  const writes = counts(history.writes.filter(({ outcome }) => outcome === 'done'));
  const violations = Object.fromEntries(violationKinds.map((kind) => [kind, 0]));
  Object.assign(violations, counts(verdict.violations));
  const operations = history.reads.length + history.writes.length + history.failures.length;
  const unavailable = (errors.STORAGE_UNAVAILABLE ?? 0) + (errors.STORAGE_OVERLOADED ?? 0);
  return { reads, writes, faults: counts(history.faults), violations, errors, operations, unavailable };
}

export function table(result: ChaosResult): string {
  const { seed, durationMs, nodes, history, verdict } = result;
  const { reads, writes, faults, violations, errors, operations, unavailable } = summary(result);
  const listed = (of: Record<string, number>) =>
    Object.entries(of)
      .sort(([a], [b]) => a.localeCompare(b))
      .map(([name, count]) => `${name} ${count}`)
      .join(', ');
  const lines: [string, string | number][] = [
    ['seed', `${seed}, ${Math.round(durationMs / 1000)} s`],
    ['nodes', nodes.join('; ')],
    ['operations', operations],
    ['reads answered', listed(reads)],
    ['writes done', listed(writes)],
    ['errors answered', listed(errors)],
    ['unavailable', unavailable],
    ['answers flagged stale', history.reads.filter(({ stale }) => stale).length],
    ['faults', listed(faults)],
    ['worst staleness', `${Math.round(verdict.worstStalenessMs)} ms; flagged ${Math.round(verdict.worstFlaggedMs)} ms`],
    ['violations', verdict.violations.length === 0 ? `0 of ${violationKinds.length} kinds` : listed(violations)],
  ];
  return lines.map(([name, value]) => `${name.padEnd(22)} ${value}`).join('\n');
}

/** Writes the whole history, and each violation with what happened to its key around it. Returns the directory. */
export function dump(result: ChaosResult): string {
  const directory = join(dumps, `seed-${result.seed}-${Date.now()}`);
  mkdirSync(directory, { recursive: true });
  const { history, verdict } = result;
  const lines = (items: readonly unknown[]) => items.map((item) => `${JSON.stringify(item)}\n`).join('');
  for (const part of ['reads', 'writes', 'failures', 'faults', 'heads', 'bodies', 'rows', 'keys'] as const)
    writeFileSync(join(directory, `${part}.jsonl`), lines(history[part]));
  writeFileSync(join(directory, 'summary.txt'), `${table(result)}\n`);
  const shown = verdict.violations.slice(0, 50).map((violation) => ({ violation, around: around(history, violation) }));
  writeFileSync(join(directory, 'violations.jsonl'), lines(shown));
  return directory;
}

/** What happened to the key of a violation in the seconds before it. */
export function around({ reads, writes, heads, faults }: History, { key, evidence }: Violation): unknown[] {
  const { begin, at, by } = { begin: 0, at: 0, by: '', ...(evidence as object) };
  const to = (begin || at) + 100;
  const from = to - 6000;
  const within = (item: { begin: number; end: number }) =>
    item.begin <= to && (item.end >= from || item.end === Number.POSITIVE_INFINITY) && item.begin >= from - 4000;
  const events = [
    ...reads.filter((read) => read.key === key && read.by === by && within(read)),
    ...writes.filter((write) => write.key === key && within(write)),
    ...faults.filter(within),
    ...heads
      .filter((state) => state.key === key && state.at <= to && state.at >= from)
      .map((state) => ({ kind: 'committed', ...state, begin: state.at })),
  ];
  return events.sort((a, b) => a.begin - b.begin);
}
