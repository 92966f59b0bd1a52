/** What a fleet that starts cold asks of Postgres: sixteen processes miss the same key at once, with the fill lease and without. */
import type { Child } from '../../test/support/processes.js';
import type { Bench, Case } from '../harness/bench.js';
import { Samples } from '../harness/samples.js';
import { sharedNow } from '../system/demand.js';
import { openFleet } from '../system/fleet.js';

const NODES = 16;
/** Enough for all nodes to be told. */
const HEAD_START_US = 30_000;

interface Side {
  readonly name: string;
  readonly nodes: readonly Child[];
  readonly waits: Samples;
}

export default {
  question: `How often do ${NODES} nodes fetch one adapter that is cold for all of them, and how long do they wait for it?`,
  async run(bench) {
    const colds = bench.quick ? 10 : 300;
    const fleet = await openFleet(bench, { users: 2 * colds, nodes: NODES });
    try {
      const alone = [];
      for (let i = 0; i < NODES; i++) alone.push(await fleet.add(undefined, { fillLease: false }));
      const sides: Side[] = [
        { name: 'one asks, the others wait for its fill', nodes: fleet.nodes, waits: new Samples() },
        { name: 'each asks (fillLease: false)', nodes: alone, waits: new Samples() },
      ];
      await measure(bench, sides, colds);
    } finally {
      await fleet.close();
    }
  },
} satisfies Case;

/** In turns, so that both meet the same moments of the machine. */
async function measure(bench: Bench, sides: readonly Side[], colds: number): Promise<void> {
  const before = await Promise.all(sides.map(bodies));
  const began = performance.now();
  for (let user = 0; user < 2 * colds; user++) {
    bench.doing(`cold adapter ${user + 1} of ${2 * colds}`);
    const { nodes, waits } = sides[user % 2] as Side;
    const at = sharedNow() + HEAD_START_US;
    for (const us of await Promise.all(nodes.map((node) => node.call<number>('timedLoadAt', user, at)))) waits.add(us);
  }
  const seconds = (performance.now() - began) / 1000 / sides.length;
  const group = 'a load of an adapter that is cold for all, from call to answer';
  for (const [i, side] of sides.entries()) {
    const fetched = ((await bodies(side)) - (before[i] as number)) / colds;
    bench.side({ name: side.name, group, latency: side.waits.distribution(), perSecond: side.waits.count / seconds });
    bench.note(
      `${side.name}: ${fetched.toFixed(2)} bodies fetched from Postgres for one cold adapter, by ${NODES} nodes.`,
    );
  }
  bench.note(
    `${NODES} processes wake at one moment on the cores there are, with Postgres and Redis beside them: what a load waits for is mostly its turn.`,
  );
}

async function bodies({ nodes }: Side): Promise<number> {
  const counts = await Promise.all(nodes.map((node) => node.call<number>('postgresLoads')));
  return counts.reduce((a, b) => a + b, 0);
}
