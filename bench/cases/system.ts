/** How many requests a node sustains through all its tiers, and how long they take at 70 % of that. */
import assert from 'node:assert/strict';
import type { Bench, Case } from '../harness/bench.js';
import { populate } from '../harness/population.js';
import type { Mix, Operation } from '../system/demand.js';
import { OPERATIONS } from '../system/demand.js';
import { type Fleet, openFleet } from '../system/fleet.js';
import type { Stretch } from '../system/node.js';
import { completedPerSecond, delay, latencyCurve } from '../system/words.js';

/** An inference server's day: a delete finds one adapter of a user who has others. */
const MIX: Mix = { load: 0.9, save: 0.05, list: 0.03, delete: 0.02 };
/** Callers who ask without end would run out of what may be deleted. */
const MIX_WITHOUT_DELETE: Mix = { load: 0.9, save: 0.07, list: 0.03 };

const HIT_RATE = 0.9;
const SHARE = 0.7;
/** Where hardly a request waits for another: what is left is not the queue's. */
const CALM_SHARE = 0.2;
const AT_MOST = 1_000;
const CALLERS = [1, 10, 100, AT_MOST];
/** Rates that are tried, as shares of what callers in a closed loop got: from there, times that, to there, then between. */
const [LEAST, GROWTH, MUCH] = [0.15, 1.5, 1.5];
const HALVINGS = 2;
/** A rate is given up when it failed that often: something else may have wanted the CPU. */
const TRIES = 2;
/** Sustained: no more than that share waits at the end, nothing fails, and no p99 is beyond this. */
const BACKLOG = 0.02;
const BOUND_US = 100_000;

const TARGETS_MS: Readonly<Record<Operation, number>> = { load: 2, save: 5, list: 10, delete: 3 };

export default {
  question: `What does a node sustain, and how long do requests take at ${SHARE * 100} % of that?`,
  async run(bench) {
    const users = bench.quick ? 500 : 4_000;
    const fleet = await openFleet(bench, { users, nodes: 1, hitRate: HIT_RATE });
    try {
      const most = await callers(bench, fleet, users);
      const steps = new Ladder(bench, fleet, users);
      const sustained = await steps.highest(most);
      const stretch = await steps.at(SHARE * sustained, 0.2 * bench.seconds);
      const calm = await steps.at(CALM_SHARE * sustained, 0.1 * bench.seconds);
      const idle = await steps.idle(SHARE * sustained, 0.08 * bench.seconds);
      steps.curve();
      report(bench, { stretch, calm, idle }, sustained);
    } finally {
      await fleet.close();
    }
  },
} satisfies Case;

/** Requests per second that so many callers get who ask again as soon as they were answered. */
async function callers(bench: Bench, { nodes: [node] }: Fleet, users: number): Promise<number> {
  const points: [callers: number, stretch: Stretch][] = [];
  for (const count of CALLERS) {
    bench.doing(`${count} callers`);
    const demand = { users, mix: MIX_WITHOUT_DELETE, seed: count };
    points.push([count, await node.call<Stretch>('closedLoopStretch', demand, count, 0.025 * bench.seconds)]);
  }
  bench.curve({
    name: 'Requests per second of callers who wait for their answers',
    x: { label: 'callers', scale: 'log' },
    y: { label: 'requests per second', scale: 'linear' },
    series: [{ name: 'all', points: points.map(([count, stretch]) => [count, completedPerSecond(stretch)]) }],
  });
  bench.curve(latencyCurve('Latency of loads for callers who wait for their answers', 'callers', points));
  return Math.max(...points.map(([, stretch]) => completedPerSecond(stretch)));
}

/** Rates, each for a while. */
class Ladder {
  readonly #bench: Bench;
  readonly #fleet: Fleet;
  readonly #users: number;
  readonly #points: [perSecond: number, stretch: Stretch][] = [];

  constructor(bench: Bench, fleet: Fleet, users: number) {
    this.#bench = bench;
    this.#fleet = fleet;
    this.#users = users;
  }

  /** The highest rate that is sustained; `most`: what callers got who wait. */
  async highest(most: number): Promise<number> {
    let low = LEAST * most;
    let high = Number.POSITIVE_INFINITY;
    for (let rate = LEAST * most; high === Number.POSITIVE_INFINITY && rate < MUCH * most; rate *= GROWTH) {
      if (await this.#sustains(rate)) low = rate;
      else high = rate;
    }
    // Where not even the least is sustained, the machine is busy with something else: the curve will show it.
    for (let i = 0; i < HALVINGS && low < high && high < Number.POSITIVE_INFINITY; i++) {
      const middle = (low + high) / 2;
      if (await this.#sustains(middle)) low = middle;
      else high = middle;
    }
    return low;
  }

  async at(perSecond: number, seconds: number): Promise<Stretch> {
    this.#bench.doing(`${Math.round(perSecond)} requests per second`);
    const adapterName = `doomed-${this.#points.length}`;
    const count = Math.ceil(1.3 * (MIX.delete ?? 0) * perSecond * seconds) + 50;
    await populate(this.#fleet.postgres, { count, adapterName });
    const arrivals = { users: this.#users, mix: MIX, seed: this.#points.length, perSecond, seconds };
    const stretch = await this.#fleet.nodes[0].call<Stretch>('openLoopStretch', arrivals, AT_MOST, adapterName);
    this.#points.push([perSecond, stretch]);
    return stretch;
  }

  /** The control: as many requests for nothing. */
  async idle(perSecond: number, seconds: number): Promise<Stretch> {
    this.#bench.doing(`${Math.round(perSecond)} requests per second for nothing`);
    const arrivals = { users: this.#users, mix: { load: 1 }, seed: 0, perSecond, seconds };
    return await this.#fleet.nodes[0].call<Stretch>('idleStretch', arrivals, AT_MOST);
  }

  /** Of all rates that were tried. */
  curve(): void {
    const points = this.#points.toSorted(([a], [b]) => a - b);
    this.#bench.curve(latencyCurve('Latency of loads against throughput', 'requests per second', points));
    this.#bench.curve({
      name: 'Event-loop delay against throughput',
      x: { label: 'requests per second', scale: 'linear' },
      y: { label: 'µs', scale: 'log' },
      series: (['p50', 'p99', 'max'] as const).map((name) => ({
        name,
        points: points.map(([perSecond, { cost }]) => [perSecond, cost.loopDelay[name]]),
      })),
    });
  }

  async #sustains(perSecond: number): Promise<boolean> {
    for (let attempt = 0; attempt < TRIES; attempt++) {
      if (isSustained(await this.at(perSecond, 0.025 * this.#bench.seconds))) return true;
    }
    return false;
  }
}

function atCalm({ latency }: Stretch, operation: Operation): string {
  const of = latency[operation];
  const p99 = of === undefined ? 'unknown' : (of.p99 / 1000).toFixed(1);
  return `${p99} at ${CALM_SHARE * 100} % (${of?.count ?? 0} calls)`;
}

function isSustained({ latency, failures, backlog, arrivals }: Stretch): boolean {
  const p99 = Math.max(...Object.values(latency).map((of) => of?.p99 ?? 0));
  return Object.keys(failures).length === 0 && backlog <= BACKLOG * arrivals && p99 <= BOUND_US;
}

interface Stretches {
  readonly stretch: Stretch;
  readonly calm: Stretch;
  readonly idle: Stretch;
}

function report(bench: Bench, { stretch, calm, idle }: Stretches, sustained: number): void {
  const nothing = idle.latency.load;
  if (nothing === undefined) throw new Error('nothing arrived');
  assert.deepEqual(stretch.failures, {}, 'every request was answered');
  const group = `all tiers, at ${SHARE * 100} % of the ${Math.round(sustained)} requests per second that are sustained`;
  bench.side({ name: 'nothing', group, latency: nothing, perSecond: completedPerSecond(idle) });
  const floor = `a node that does nothing takes ${(nothing.p99 / 1000).toFixed(1)}`;
  for (const operation of OPERATIONS) {
    const latency = stretch.latency[operation];
    const bound = TARGETS_MS[operation];
    const what = `${operation}, p99 in ms at ${SHARE * 100} % of the highest sustained rate`;
    if (latency === undefined) {
      bench.target(what, '<', bound, null, 'no such request was drawn');
      continue;
    }
    bench.side({ name: operation, group, latency, perSecond: latency.count / stretch.seconds });
    const p99 = latency.p99 / 1000;
    bench.target(
      what,
      '<',
      bound,
      p99,
      p99 < bound ? undefined : `${latency.count} calls; ${atCalm(calm, operation)}; ${floor}; ${delay(stretch)}`,
    );
  }
  const { loads, cpu } = { loads: stretch.completed, cpu: stretch.cost.cpuMicroseconds };
  bench.note(
    `${(100 * stretch.hitRate).toFixed(1)} % of the loads found memory, ${Math.round(cpu / loads)} µs of CPU a request in the node; ${delay(stretch)}.`,
  );
  bench.note(
    'Latency counts from the moment at which a request should have started, so it holds the wake-up of the generator, a socket to the node and every wait, which are what `nothing` takes; generator, node, Postgres and Redis share the cores.',
  );
  bench.note(
    `Sustained: at most ${BACKLOG * 100} % unanswered when the last request has arrived, no failure, every p99 below ${BOUND_US / 1000} ms.`,
  );
}
