/** The pages of the project quote what was measured, and nothing else. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
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
