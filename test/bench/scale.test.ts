/** npm run bench:scale: how many users the disk allows, what the model makes of the figures, and a run as it is started. */
import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { constantNames, figure } from '../../bench/scale/constants.js';
import { CACHED_BYTES, capacity, EXAMPLE, limits, type Measured } from '../../bench/scale/model.js';
import { planFor } from '../../bench/scale/plan.js';
import type { ScaleResults } from '../../bench/scale/results.js';
import { scalePage, withScale } from '../../bench/scale/tables.js';
import { root } from '../support/root.js';
import { waitFor } from '../support/wait.js';

const execute = promisify(execFile);
const script = ['.cache/bench/bench/scale/main.js', '--quick', '--users', '2000', '--full', '60'];
// Processes of this machine: of a container's nobody sees here what they take, nor what they leave.
const options = { cwd: root, env: { ...process.env, LORA_STORE_TEST_SERVERS: 'binary,embedded,apt' } };
/** What only Linux tells. */
const ofProc = ['postgresLoadPostgresUs', 'savePostgresUs', 'diskBytesPerLoad'];

/** Round figures, that can be multiplied in the head. */
const simple: Measured = {
  userBytes: 100,
  headBytes: 200,
  rowBytes: 200,
  toastBytes: 43_000,
  indexBytes: 300,
  walBytes: 50_000,
  savesPerSecond: 1_000,
  postgresLoadPostgresUs: 100,
  copyBytesPerSecond: 1e9,
  vacuumThrottledUs: 400,
  redisBytes: 50_000,
  redisHalfBytes: 25_000,
  redisHitRedisUs: 20,
  memoryHitUs: 1,
  redisHitNodeUs: 100,
  postgresLoadNodeUs: 200,
  saveNodeUs: 500,
  earUs: 10,
  busUs: 20,
};

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

describe('the model', () => {
  // 10 % of 8,640,000 are 864,000, with 3 sessions a day each: 30 a second, 90 at the peak.
  const of = capacity(8_640_000, simple);

  test('counts calls by the session, of which memory misses the first load and Redis the first session of a day', () => {
    expect(of).toMatchObject({
      activeUsers: 864_000,
      loads: 1_800,
      memoryHits: 1_710,
      redisHits: 60,
      postgresLoads: 30,
      saves: 90,
    });
    expect(of.memoryHits + of.redisHits + of.postgresLoads).toBe(of.loads);
  });

  test('multiplies what one takes', () => {
    const versions = 8_640_000 * 2 + 2_592_000;
    expect(of.postgresBytes).toBe(8_640_000 * 300 + versions * 43_500);
    expect(of.walBytesPerDay).toBe(2_592_000 * 50_000);
    expect(of.redisBytes).toBe(864_000 * 50_000);
    expect(of.nodeMemoryBytes).toBeCloseTo(90 * 600 * CACHED_BYTES, 0);
    expect(of.nodeCores).toBeCloseTo((1_710 + 60 * 100 + 30 * 200 + 90 * 500) / 1e6, 9);
    expect(of.hearingShare).toBeCloseTo(90 * 30e-6, 9);
    expect(of.copySeconds).toBeCloseTo(of.postgresBytes / 1e9, 6);
    expect(of.vacuumShare).toBeCloseTo(30 * 400e-6, 9);
  });

  test('needs one of each at the least, and as many as whatever ends first asks for', () => {
    expect(of).toMatchObject({
      primariesBySaves: 1,
      primariesByBytes: 1,
      primariesByLoads: 1,
      primaries: 1,
      masters: 2,
      mastersHalf: 1,
    });
    const saving = capacity(8_640_000, simple, { ...EXAMPLE, savesPerSession: 20 });
    // 1,800 saves a second at half of 1,000.
    expect(saving).toMatchObject({ primariesBySaves: 4, primaries: 4 });
    expect(capacity(1, simple)).toMatchObject({ primaries: 1, masters: 1, nodes: 1 });
  });

  test('says that no number of nodes will do where each is busy with hearing', () => {
    expect(capacity(8_640_000, { ...simple, earUs: 10_000 }).nodes).toBe(Number.POSITIVE_INFINITY);
  });

  test('names where one server ends: up to there one is enough, behind it not', () => {
    const ends = limits(simple);
    expect(ends.map(({ users }) => users)).toEqual(ends.map(({ users }) => users).toSorted((a, b) => a - b));
    const at = (what: string) => ends.find((limit) => limit.what === what)?.users as number;
    for (const [what, count] of [
      ['memory of one Redis master, f32', 'masters'],
      ['memory of one Redis master, f16', 'mastersHalf'],
      ['disk of one primary', 'primariesByBytes'],
      ['saves on one primary', 'primariesBySaves'],
    ] as const) {
      expect([what, capacity(0.999 * at(what), simple)[count]]).toEqual([what, 1]);
      expect([what, capacity(1.001 * at(what), simple)[count]]).toEqual([what, 2]);
    }
    const hearing = at('hearing of every save, in every node');
    expect(capacity(0.999 * hearing, simple).nodes).toBeLessThan(Number.POSITIVE_INFINITY);
    expect(capacity(1.001 * hearing, simple).nodes).toBe(Number.POSITIVE_INFINITY);
  });
});

describe('what docs/scaling.md quotes', () => {
  test('is bench/results/scale.json as npm run bench:tables writes it', () => {
    const { text, expected } = scalePage(root);
    expect(text).toMatch(/<!-- scale: capacity -->\n\| /);
    expect(text, 'docs/scaling.md differs from bench/results/scale.json: npm run bench:tables').toBe(expected);
  });

  test('is never a quick run, nor a table that nobody can make', () => {
    const results = JSON.parse(readFileSync(join(root, 'bench/results/scale.json'), 'utf8')) as ScaleResults;
    expect(() => withScale('', { ...results, quick: true })).toThrow('quick run');
    expect(() => withScale('<!-- scale: prices -->\n<!-- /scale -->', results)).toThrow('no table is called prices');
    const { earUs: _, ...rest } = results.constants;
    const page = '<!-- scale: capacity -->\n<!-- /scale -->';
    expect(() => withScale(page, { ...results, constants: rest })).toThrow('has not measured earUs');
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
});

describe('a run', () => {
  let scratch: string;
  beforeAll(async () => {
    scratch = mkdtempSync(join(tmpdir(), 'lora-store-scale-'));
    await execute('npx', ['tsc', '-p', 'bench'], { cwd: root });
  });
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
  }, 300_000);

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
