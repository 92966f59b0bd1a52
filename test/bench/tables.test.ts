/** The pages of the project quote what was measured, and nothing else. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import type { CaseResult, Ratio, SideResult } from '../../bench/harness/results.js';
import { pagesWithTables, readReference } from '../../bench/report/pages.js';
import { withTables } from '../../bench/report/tables.js';
import { seededResults } from './seeded-results.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

const results = seededResults();

const page = `before\n<!-- bench: targets -->\nold\n<!-- /bench -->\nbetween\n<!-- bench: ratios -->\n<!-- /bench -->\n`;

test('every page quotes bench/results/reference.json as npm run bench:tables writes it', () => {
  expect(readFileSync(`${root}/README.md`, 'utf8')).toContain('<!-- bench: targets -->');
  for (const { path, text, expected } of pagesWithTables(root, readReference(root))) {
    expect(text, `${path} differs from the reference: npm run bench:tables`).toBe(expected);
  }
});

test('a block holds what its name says, and what is around it stays', () => {
  const written = withTables(page, results);
  expect(written).toMatch(/^before\n<!-- bench: targets -->\n## Measured\n/);
  expect(written).toContain('| loads per second / bare pg | ≥\u00a01.7 | 1.25 | short |');
  expect(written).toContain('| Postgres load / libpq C client | ≤\u00a02 |  | not measured |');
  expect(written).toContain('2 of 4 targets are met, 1 is short, 1 was not measured.');
  expect(written).toContain('### Redis hit\n');
  expect(written).toContain('| loadAdapter / bare getBuffer of ioredis | p99 |');
  expect(written).not.toContain('old');
  expect(written).toContain('\nbetween\n');
  expect(withTables(written, results)).toBe(written);
});

test('what a user waits for stands before the targets, as far as it was measured', () => {
  const [first, ...others] = results.cases as [CaseResult, ...CaseResult[]];
  const [one] = first.sides as [SideResult];
  const side = { ...one, name: 'saveAdapter', group: 'one save at a time', latency: { ...one.latency, p50: 859 } };
  const cases = [{ ...first, name: 'save', sides: [{ ...side, name: 'bare INSERT' }, side] }, ...others];
  expect(withTables(page, { ...results, cases })).toMatch(/One call at a time, in the median: a save 859\sµs\./);
  expect(withTables(page, results)).not.toContain('One call at a time');
});

test('what is short is listed with the reason that the run gave', () => {
  const written = withTables('<!-- bench: short -->\n<!-- /bench -->', results);
  expect(written).toContain(
    '| loads per second / bare pg | 1.25 | ≥\u00a01.7 | The profile shows 61 % in memcpy: the copy is the work. |',
  );
  expect(written).not.toContain('peekAdapter');
});

test('p50s beside a ratio are of the two sides that ran in turns, not of another group’s side of that name', () => {
  const [first, ...others] = results.cases as [CaseResult, ...CaseResult[]];
  const [one] = first.sides as [SideResult];
  const at = (name: string, group: string, p50: number): SideResult => ({
    ...one,
    name,
    group,
    latency: { ...one.latency, p50 },
  });
  const sides = [at('decode', 'there', 1), at('copy', 'there', 2), at('encode', 'back', 3), at('copy', 'back', 4)];
  const [ratio] = first.ratios as [Ratio];
  const ratios: Ratio[] = [{ ...ratio, of: 'encode', to: 'copy' }];
  const written = withTables(page, { ...results, cases: [{ ...first, sides, ratios }, ...others] });
  expect(written).toMatch(/\| encode \/ copy \|.*\| 3\.00\sµs \| 4\.00\sµs \|/);
});

test('without a reference the blocks are empty', () => {
  const emptied = withTables(withTables(page, results), undefined);
  expect(emptied).toBe(page.replace('old\n', ''));
});

test('a quick run is quoted nowhere', () => {
  expect(() => withTables(page, { ...results, quick: true })).toThrow('quick run');
});

test('a table that nobody can make is refused by name', () => {
  expect(() => withTables('<!-- bench: latencies -->\n<!-- /bench -->', results)).toThrow(
    'no table is called latencies',
  );
});
