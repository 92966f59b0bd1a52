/** npm run bench, as it is started: compiled, a case in a process of its own, and what it writes down. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Results } from '../../bench/harness/results.js';
import { root } from '../support/root.js';

const execute = promisify(execFile);
const scratch = mkdtempSync(join(tmpdir(), 'lora-store-bench-run-'));

// Not `npm run bench`: its prebench writes dist anew, which other tests are running on.
beforeAll(() => execute('npx', ['tsc', '-p', 'bench'], { cwd: root }));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

function bench(...args: string[]) {
  return execute(process.execPath, ['.cache/bench/bench/main.js', ...args], { cwd: root });
}

test('a quick run of one case says what it found, and writes it down', async () => {
  const path = join(scratch, 'results.json');
  const { stdout, stderr } = await bench('--quick', '--out', path, 'arithmetic');
  const { format, quick, environment, cases, targets } = JSON.parse(readFileSync(path, 'utf8')) as Results;
  expect({ format, quick, codec: environment.codec }).toMatchObject({ format: 1, quick: true });
  expect(environment.codec).toMatch(/^native/);
  expect(cases.map(({ name }) => name)).toEqual(['arithmetic']);
  const [{ sides, ratios } = { sides: [], ratios: [] }] = cases;
  for (const { latency } of sides) {
    expect(latency.buckets.reduce((sum, [, count]) => sum + count, 0)).toBe(latency.count);
    expect(latency.min).toBeGreaterThan(0);
  }
  expect(ratios.every(({ rounds }) => rounds >= 5)).toBe(true);
  expect(targets).toHaveLength(2);
  for (const { what } of targets) expect(stdout).toContain(what);
  // Not a terminal: lines, and no bar.
  expect(stderr).toContain('arithmetic: 0 of 1 cases done');
  expect(stderr).not.toContain('\u001b');
});

test('the package with its look for subscribers taken out is still this package', async () => {
  const path = join(scratch, 'observability.json');
  await bench('--quick', '--out', path, 'observability');
  const { cases, targets } = JSON.parse(readFileSync(path, 'utf8')) as Results;
  const names = ['Looking', 'LookingToo', 'Blind'].flatMap((twin) => [`loadAdapter${twin}`, `peekAdapter${twin}`]);
  expect(cases.flatMap(({ sides }) => sides.map(({ name }) => name)).sort()).toEqual(names.sort());
  expect(targets).toMatchObject([{ what: 'memory hit that looks for subscribers / the same without the look' }]);
});

test('a case that there is not is refused, and those that there are are named', async () => {
  await expect(bench('--quick', 'codex')).rejects.toThrow(/codec, allocation, arithmetic/);
});
