/** What a node's loads suffer from saves on another node, which take from its memory what it held. */
import assert from 'node:assert/strict';
import type { Bench, Case } from '../harness/bench.js';
import { openFleet } from '../system/fleet.js';
import type { Stretch } from '../system/node.js';
import { completedPerSecond, latencyCurve } from '../system/words.js';

const PER_SECOND = [0, 1, 10, 100];
const HIT_RATE = 0.9;
/** Of what the node gives callers who wait. */
const SHARE = 0.3;
const CALLERS = 32;
const AT_MOST = 1_000;
/** Of the saves, fewer than those that were asked for, where the writer's machine is busy. */
const LEAST_SAVED = 0.5;

type Point = readonly [savesPerSecond: number, stretch: Stretch];

export default {
  question: 'What do saves on another node cost the loads of this one?',
  async run(bench) {
    const users = bench.quick ? 500 : 4_000;
    const fleet = await openFleet(bench, { users, nodes: 1, hitRate: HIT_RATE });
    try {
      const [reader] = fleet.nodes;
      const writer = await fleet.add(undefined);
      const demand = { users, mix: { load: 1 }, seed: 1 };
      const closed = await reader.call<Stretch>('closedLoopStretch', demand, CALLERS, 0.05 * bench.seconds);
      const perSecond = SHARE * completedPerSecond(closed);
      const points: Point[] = [];
      for (const saves of PER_SECOND) {
        bench.doing(`${saves} saves per second under ${Math.round(perSecond)} loads`);
        const seconds = (0.6 * bench.seconds) / PER_SECOND.length;
        const [stretch, saved] = await Promise.all([
          reader.call<Stretch>('openLoopStretch', { ...demand, seed: 2, perSecond, seconds }, AT_MOST),
          saves > 0 &&
            writer.call<Stretch>(
              'openLoopStretch',
              { users, mix: { save: 1 }, seed: 3, perSecond: saves, seconds },
              AT_MOST,
            ),
        ]);
        assert.deepEqual(stretch.failures, {}, 'every load was answered');
        if (saved && saves * seconds > 20) {
          assert.ok(saved.completed >= LEAST_SAVED * saves * seconds, `${saved.completed} saves in ${seconds} s`);
        }
        points.push([saves, stretch]);
      }
      report(bench, points, perSecond);
    } finally {
      await fleet.close();
    }
  },
} satisfies Case;

function report(bench: Bench, points: readonly Point[], perSecond: number): void {
  const group = `loads, ${Math.round(perSecond)} a second, memory for ${HIT_RATE * 100} % hits`;
  for (const [saves, stretch] of points) {
    if (stretch.latency.load === undefined) throw new Error('nothing was loaded');
    const name = `${saves} saves per second elsewhere`;
    bench.side({ name, group, latency: stretch.latency.load, perSecond: completedPerSecond(stretch) });
    bench.note(`${name}: ${(100 * stretch.hitRate).toFixed(1)} % of the loads found memory.`);
  }
  const some = points.filter(([saves]) => saves > 0);
  bench.curve(latencyCurve('Latency of loads under saves elsewhere', 'saves per second', some));
  bench.note(
    'Saves choose users as loads do: those most loaded are most saved. The writer and its generator share the cores with the node.',
  );
}
