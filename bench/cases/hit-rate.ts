/** What share of loads memory answers, and what that does to their latency, their CPU and the bytes they move. */
import assert from 'node:assert/strict';
import type { Bench, Case } from '../harness/bench.js';
import type { Curve } from '../harness/results.js';
import { openFleet } from '../system/fleet.js';
import type { Stretch } from '../system/node.js';
import { completedPerSecond, latencyCurve } from '../system/words.js';

const HIT_RATES = [0.5, 0.9, 0.99, 0.999];
/** Of what a node with the lowest of them gives callers who wait; the same for all, so that only the hit rate differs. */
const SHARE = 0.3;
const CALLERS = 32;
const AT_MOST = 1_000;
/** Che's approximation, a short stretch, and loads that joined another's. */
const TOLERANCE = 0.1;

type Point = readonly [hitRate: number, stretch: Stretch];

export default {
  question: 'What do more hits in memory do for loads, arriving at the same rate?',
  async run(bench) {
    const users = bench.quick ? 500 : 4_000;
    const hitRates = bench.quick ? [0.5, 0.99] : HIT_RATES;
    const fleet = await openFleet(bench, { users, nodes: 0 });
    const demand = { users, mix: { load: 1 }, seed: 1 };
    try {
      const points: Point[] = [];
      let perSecond = 0;
      for (const hitRate of hitRates) {
        const node = await fleet.add(hitRate);
        // The first also tells what the rate of all is; the others get as warm.
        const closed = await node.call<Stretch>('closedLoopStretch', demand, CALLERS, 0.04 * bench.seconds);
        perSecond ||= SHARE * completedPerSecond(closed);
        bench.doing(`${hitRate * 100} % hits, ${Math.round(perSecond)} loads per second`);
        const arrivals = { ...demand, seed: 2, perSecond, seconds: (0.4 * bench.seconds) / hitRates.length };
        const stretch = await node.call<Stretch>('openLoopStretch', arrivals, AT_MOST);
        await node.kill();
        assert.deepEqual(stretch.failures, {}, 'every load was answered');
        points.push([hitRate, stretch]);
      }
      report(bench, points, perSecond);
    } finally {
      await fleet.close();
    }
  },
} satisfies Case;

function report(bench: Bench, points: readonly Point[], perSecond: number): void {
  const group = `loads, ${Math.round(perSecond)} a second`;
  for (const [hitRate, stretch] of points) {
    const { latency, hitRate: measured } = stretch;
    if (latency.load === undefined) throw new Error('nothing was loaded');
    const name = `memory for ${hitRate * 100} % hits`;
    bench.side({ name, group, latency: latency.load, perSecond: completedPerSecond(stretch) });
    const words = `${name}: ${(measured * 100).toFixed(1)} % measured`;
    bench.note(Math.abs(measured - hitRate) > TOLERANCE ? `${words}, far from what was meant` : words);
  }
  // Misses are on the axis: hits of 99 and 99.9 % lie ten times apart.
  const byMisses = points.map(([, stretch]) => [100 * (1 - stretch.hitRate), stretch] as const);
  bench.curve(latencyCurve('Latency of loads against misses', 'loads that missed memory, in %', byMisses));
  bench.curve(costCurve('CPU of the node per load', 'µs', byMisses, (stretch) => stretch.cost.cpuMicroseconds));
  bench.curve(costCurve('Bytes moved per load', 'bytes', byMisses, (stretch) => stretch.cost.copiedBytes));
  bench.curve(
    costCurve('Event-loop delay, p99', 'µs', byMisses, ({ cost, completed }) => cost.loopDelay.p99 * completed),
  );
  bench.note(
    'Users are Zipf-distributed (0.99, as in YCSB), and memory.maxBytes is what Che’s approximation says for a hit rate; what memory has not, Redis has.',
  );
  bench.note(
    'CPU is that of the whole node, which also reads arrivals from a socket. Bytes are all that it read and wrote and the copy of each body into its place; the kernel’s own copies are not among them.',
  );
}

/** A load's share of what all of them took. */
function costCurve(
  name: string,
  unit: string,
  points: readonly Point[],
  total: (stretch: Stretch) => number | undefined,
): Curve {
  return {
    name,
    x: { label: 'loads that missed memory, in %', scale: 'log' },
    y: { label: unit, scale: 'log' },
    series: [
      {
        name: unit,
        points: points.flatMap(([misses, stretch]) => {
          const all = total(stretch);
          return all === undefined ? [] : [[misses, all / stretch.completed] as const];
        }),
      },
    ],
  };
}
