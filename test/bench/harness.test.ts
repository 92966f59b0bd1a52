/** How the benches measure: in turns, only what is right, and with ratios taken round by round. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { Bench } from '../../bench/harness/bench.js';
import { contend } from '../../bench/harness/compare.js';
import { quartiles, Samples } from '../../bench/harness/samples.js';
import type { LocalSide, RemoteSide } from '../../bench/harness/side.js';

const silent = () => {};
const correct = () => {};

/** Times by a formula instead of a clock. */
function remote(name: string, microseconds: () => number, log: string[] = []): RemoteSide {
  return {
    name,
    callsPerSample: 1,
    check: correct,
    async slice() {
      log.push(name);
      return [microseconds()];
    },
  };
}

/** What ran in each round. */
async function roundsOf(names: string[]): Promise<string[]> {
  const log: string[] = [];
  const sides = names.map((name) => remote(name, () => 1, log));
  await contend({ group: 'turns', sides, seconds: 0.3, sliceMs: 1 }, (doing) => log.push(doing.split(' of ')[0] ?? ''));
  const rounds = log
    .slice(log.indexOf('turns: round 1'))
    .join(' ')
    .split(/ ?turns: round \d+ /);
  return rounds.slice(1);
}

test.each([
  [['a', 'b', 'c', 'd'], 4],
  [['a', 'b', 'c'], 6],
])(
  '%j take turns: in %i rounds each has each place, and follows each other one, equally often',
  async (names, cycle) => {
    const rounds = (await roundsOf(names)).slice(0, cycle);
    expect(rounds).toHaveLength(cycle);
    const times = new Map<string, number>();
    for (const round of rounds) {
      for (const [place, name] of round.split(' ').entries()) {
        for (const what of [
          `${name} at ${place}`,
          `${name} behind ${place === 0 ? 'none' : round.split(' ')[place - 1]}`,
        ]) {
          times.set(what, (times.get(what) ?? 0) + 1);
        }
      }
    }
    const once = cycle / names.length;
    expect(times.size).toBe(2 * names.length ** 2);
    expect(new Set(times.values())).toEqual(new Set([once]));
  },
);

test('a ratio is taken once a round, and quoted as the median with quartiles', async () => {
  // The machine becomes ten times slower, for both: the ratio does not see it.
  let time = 1;
  const sides = [remote('half', () => time), remote('whole', () => 2 * time)];
  const { ratio } = await contend({ group: 'ratio', sides, seconds: 0.1, sliceMs: 1 }, (doing) => {
    if (doing.startsWith('ratio: round 3 ')) time = 10;
  });
  const { median, low, high, rounds } = ratio('half', 'whole');
  expect(rounds).toBeGreaterThanOrEqual(5);
  // Three digits are what a distribution keeps.
  expect([low, median, high].every((value) => Math.abs(value / 0.5 - 1) < 0.002)).toBe(true);
  expect(() => ratio('half', 'hole')).toThrow(/no side is called 'hole'/);
  expect(quartiles([4, 1, 3, 2, 5])).toEqual({ low: 2, median: 3, high: 4 });
});

test('a wrong answer ends the comparison before any clock starts', async () => {
  const log: string[] = [];
  const wrong: LocalSide = {
    name: 'wrong',
    run: () => 41,
    check: (answer: number) => expect(answer).toBe(42),
  };
  const contest = { group: 'answers', sides: [remote('right', () => 1, log), wrong], seconds: 0.1 };
  await expect(contend(contest, silent)).rejects.toThrow(/41/);
  expect(log).toEqual([]);
});

test('synchronous work is timed in batches, promises call by call and as many at once as asked for', async () => {
  let underWay = 0;
  let most = 0;
  const busy: LocalSide = {
    name: 'busy',
    run() {
      const end = performance.now() + 0.02;
      while (performance.now() < end);
    },
    check: correct,
  };
  const waiting: LocalSide = {
    name: 'waiting',
    async run() {
      most = Math.max(most, ++underWay);
      await sleep(2);
      underWay--;
    },
    check: correct,
  };
  const contest = { group: 'timing', sides: [busy, waiting], seconds: 0.1, concurrency: 4 };
  const [batches, calls] = (await contend(contest, silent)).sides;
  expect(batches?.callsPerSample).toBeGreaterThan(1);
  expect(batches?.latency.min).toBeGreaterThanOrEqual(19.9);
  expect(calls?.callsPerSample).toBeUndefined();
  // Node's timers count whole milliseconds: two of them may be one and a little.
  expect(calls?.latency.min).toBeGreaterThanOrEqual(1000);
  expect(most).toBe(4);
});

test('a distribution has every sample in a bucket that reaches up to it', () => {
  const samples = new Samples();
  for (let i = 1; i <= 1000; i++) samples.add(i / 100);
  const { count, mean, min, p50, p99, max, buckets } = samples.distribution();
  expect(count).toBe(1000);
  expect(mean).toBeCloseTo(5.005, 9);
  for (const [value, expected] of [
    [min, 0.01],
    [p50, 5],
    [p99, 9.9],
    [max, 10],
  ] as const) {
    expect(Math.abs(value / expected - 1)).toBeLessThan(0.002);
  }
  expect(buckets.reduce((sum, [, held]) => sum + held, 0)).toBe(1000);
  const edges = buckets.map(([edge]) => edge);
  expect(edges).toEqual(edges.toSorted((a, b) => a - b));
  // The edge after 1 is 10^(1/20), 1.122: hundredths up to 1.12 lie below it.
  expect(buckets.filter(([edge]) => edge < 1.13).reduce((sum, [, held]) => sum + held, 0)).toBe(112);
});

test('a target is met, short, or not measured for a reason', async () => {
  const bench = new Bench('targets', 1, true, silent);
  onTestFinished(() => bench.servers.stop());
  bench.target('at the bound', '<=', 1, 1);
  bench.target('below it', '<', 1, 1);
  bench.target('at least', '>=', 1, { of: 'a', to: 'b', statistic: 'mean', rounds: 5, low: 0.8, median: 0.9, high: 1 });
  bench.target('unknown', '<=', 1, null, 'there is no cargo');
  expect(() => bench.target('silent', '<=', 1, null)).toThrow(/nobody says why/);
  const { targets } = bench.finding('?');
  expect(targets.map(({ met }) => met)).toEqual([true, false, false, null]);
  expect(targets[2]).toMatchObject({ value: 0.9, low: 0.8, high: 1 });
});
