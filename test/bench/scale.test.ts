/** npm run bench:scale: how many users the disk allows, and a run as it is started. */
import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { constantNames, figure } from '../../bench/scale/constants.js';
import { planFor } from '../../bench/scale/plan.js';
import type { ScaleResults } from '../../bench/scale/results.js';
import { root } from '../support/root.js';
import { waitFor } from '../support/wait.js';

const execute = promisify(execFile);
const script = ['.cache/bench/bench/scale/main.js', '--quick', '--users', '2000', '--full', '60'];
// Processes of this machine: of a container's nobody sees here what they take, nor what they leave.
const options = { cwd: root, env: { ...process.env, LORA_STORE_TEST_SERVERS: 'binary,embedded,apt' } };
/** What only Linux tells. */
const ofProc = ['postgresLoadPostgresUs', 'savePostgresUs', 'diskBytesPerLoad'];

describe('how many users a run has', () => {
  const asked = { users: 1_000_000, full: 100_000, quick: false };

  test('as many as asked for, where the disk has room', () => {
    expect(planFor(asked, 100e9)).toEqual({ users: 1_000_000, full: 100_000, bytes: expect.any(Number) });
  });

  test('fewer of full size before fewer in all, and it says so', () => {
    const tight = planFor(asked, 13e9);
    expect(tight).toMatchObject({ users: 1_000_000, reduced: expect.stringContaining('this run has 1,000,000 users') });
    expect(tight.full).toBeGreaterThan(100);
    expect(tight.full).toBeLessThan(100_000);
    const tighter = planFor(asked, 8e9);
    expect(tighter.full).toBe(100);
    expect(tighter.users).toBeGreaterThan(1_000);
    expect(tighter.users).toBeLessThan(1_000_000);
    for (const [plan, free] of [
      [tight, 13e9],
      [tighter, 8e9],
    ] as const)
      expect(plan.bytes).toBeLessThanOrEqual(0.8 * free);
  });

  test('none on a disk without room, and the error names the way out', () => {
    expect(() => planFor(asked, 5e9)).toThrow(/5\.0 GB that are free.*TMPDIR/);
  });
});

test.each([
  [41_052, 'B', '41,052 B'],
  [878e9, 'B', '878 GB'],
  [0.25, 'µs', '250 ns'],
  [1_530, 'µs', '1.53 ms'],
  [0.123, 'share', '12.3 %'],
] as const)('%d %s reads %s', (value, unit, text) => {
  expect(figure(value, unit)).toBe(text);
});

describe('a run', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'lora-store-scale-'));
  beforeAll(() => execute('npx', ['tsc', '-p', 'bench'], { cwd: root }));
  afterAll(() => rmSync(scratch, { recursive: true, force: true }));

  test('that is quick measures every constant, prints and writes them, and leaves nothing', async () => {
    const path = join(scratch, 'scale.json');
    const { stdout } = await execute(process.execPath, [...script, '--out', path], options);
    const { quick, users, full, command, constants, loads } = JSON.parse(readFileSync(path, 'utf8')) as ScaleResults;
    expect({ quick, users, full }).toEqual({ quick: true, users: 2_000, full: 60 });
    expect(command).toMatch(/^npm run bench:scale -- --quick --users 2000 --full 60/);
    expect(constantNames.filter((name) => !(name in constants) && !ofProc.includes(name))).toEqual([]);
    for (const value of Object.values(constants)) expect(value).toBeGreaterThanOrEqual(0);
    // A record is 41,052 bytes: none lies anywhere in fewer, and hardly in twice as many.
    for (const bytes of [constants.redisBytes, constants.walBytes, constants.toastBytes]) {
      expect(bytes).toBeGreaterThan(41_052);
      expect(bytes).toBeLessThan(2 * 41_052);
    }
    expect(loads.sides.length).toBeGreaterThan(20);
    expect(stdout).toContain('fsync on');
    expect(stdout).toContain('saves a second, 32 writers, full size: ');
    expect(existsSync(dataOf(stdout))).toBe(false);
  }, 180_000);

  test('that is ended by Ctrl-C takes its data with it', async () => {
    const child = spawn(process.execPath, [...script, '--out', join(scratch, 'none.json')], options);
    let data = '';
    for await (const line of createInterface({ input: child.stdout })) {
      if (!line.startsWith('data: ')) continue;
      data = dataOf(line);
      expect(existsSync(data)).toBe(true);
      child.kill('SIGINT');
    }
    await waitFor(() => !existsSync(data), { timeoutMs: 30_000, what: `${data} to be gone` });
    expect(existsSync(join(scratch, 'none.json'))).toBe(false);
  });

  test('is refused where what is asked for is no number of users', async () => {
    await expect(execute(process.execPath, [...script, '--users', '0'], options)).rejects.toThrow(
      /whole number, 1 or more/,
    );
  });
});

function dataOf(output: string): string {
  return /^data: (.+); it goes/m.exec(output)?.[1] as string;
}
