/** What nodes over one Postgres know of each other: how stale one may be, and how often a cold adapter is fetched. */
import assert from 'node:assert/strict';
import type { Child } from '../../test/support/processes.js';
import type { Bench, Case } from '../harness/bench.js';
import { userAt, withClient } from '../harness/population.js';
import { Samples } from '../harness/samples.js';
import { sharedNow } from '../system/demand.js';
import { type Fleet, openFleet } from '../system/fleet.js';

const NODES = 4;
const CALLERS = [1, 10, 100];
/** Enough for all nodes to be told. */
const HEAD_START_US = 20_000;

export default {
  question: `How soon does a node serve what another saved, and how often do ${NODES} nodes fetch one cold adapter?`,
  async run(bench) {
    const colds = bench.quick ? 3 : 100;
    const saves = bench.quick ? 25 : 500;
    const users = 2 * CALLERS.length * colds + 1;
    const fleet = await openFleet(bench, { users, nodes: NODES, settings: { track_commit_timestamp: 'on' } });
    try {
      await staleness(bench, fleet, saves);
      await cold(bench, fleet, colds);
    } finally {
      await fleet.close();
    }
  },
} satisfies Case;

/** User 0 is saved again and again. */
async function staleness(bench: Bench, fleet: Fleet, saves: number): Promise<void> {
  const [writer, reader] = fleet.nodes;
  const feedOnly = { redis: false as const };
  const deaf = { redis: false as const, changeFeed: false };
  const pairs: [name: string, writer: Child, reader: Child, saves: number][] = [
    ['Redis pub/sub and change feed', writer, reader as Child, saves],
    ['change feed alone', await fleet.add(undefined, feedOnly), await fleet.add(undefined, feedOnly), saves],
    // Each takes as long as maxStalenessMs.
    ['neither: maxStalenessMs 1000', await fleet.add(undefined, deaf), await fleet.add(undefined, deaf), saves / 25],
  ];
  for (const [name, from, to, count] of pairs) {
    bench.doing(`staleness, ${name}`);
    const samples = new Samples();
    const began = performance.now();
    await to.call('watch', 0, 1);
    for (let i = 0; i < count; i++) {
      const { version } = await latestOf(fleet);
      const served = to.call<number>('watch', 0, version + 1);
      const saved = await from.call<{ version: number }>('save', 0);
      assert.equal(saved.version, version + 1);
      const at = await served;
      samples.add(at - (await latestOf(fleet)).committed);
    }
    const perSecond = (1000 * samples.count) / (performance.now() - began);
    bench.side({
      name,
      group: 'from a commit to the first load of it on another node',
      latency: samples.distribution(),
      perSecond,
    });
  }
  for (const [, from, to] of pairs.slice(1)) await Promise.all([from.kill(), to.kill()]);
  bench.note(
    'Staleness counts from Postgres’ own commit timestamp. The other node asks again and again, so its turn of the event loop and the load of the new version are in it.',
  );
}

/** Version of user 0, and when it was committed, on the clock that the processes share. */
async function latestOf({ postgres }: Fleet): Promise<{ version: number; committed: number }> {
  const { rows } = await withClient(postgres, (client) =>
    client.query<{ version: number; committed: number }>(
      `select latest_version as version, (extract(epoch from pg_xact_commit_timestamp(xmin)) * 1000000)::float8 as committed
       from lora_adapter_heads where user_id = $1`,
      [userAt(0)],
    ),
  );
  const [head] = rows;
  if (head === undefined) throw new Error('there is no head');
  return { version: head.version, committed: head.committed - wallOffset() };
}

/** Microseconds that the wall clock is ahead of the shared one: the most that is seen as it turns a millisecond. */
function wallOffset(): number {
  let offset = Number.NEGATIVE_INFINITY;
  for (let look = 0; look < 3; look++) {
    const before = Date.now();
    let now = before;
    while (now === before) now = Date.now();
    offset = Math.max(offset, now * 1000 - sharedNow());
  }
  return offset;
}

async function cold(bench: Bench, { nodes }: Fleet, colds: number): Promise<void> {
  let user = 1;
  const fetchedBy = async (callers: number, ask: Asking): Promise<number> => {
    bench.doing(`cold adapters, ${callers} callers a node`);
    const before = await bodies(nodes);
    for (let i = 0; i < colds; i++, user++) await ask(nodes, user, callers);
    return ((await bodies(nodes)) - before) / colds;
  };
  const together: [number, number][] = [];
  const inTurn: [number, number][] = [];
  for (const callers of CALLERS) {
    together.push([callers, await fetchedBy(callers, atOnce)]);
    inTurn.push([callers, await fetchedBy(callers, oneAfterAnother)]);
  }
  bench.curve({
    name: `Bodies fetched from Postgres for one cold adapter, ${NODES} nodes`,
    x: { label: 'callers a node', scale: 'log' },
    y: { label: 'bodies', scale: 'linear' },
    series: [
      { name: 'all at once', points: together },
      { name: 'one node after another', points: inTurn },
    ],
  });
  const words = (points: [number, number][]) => points.map(([callers, count]) => `${count} with ${callers}`).join(', ');
  bench.note(
    `Bodies fetched from Postgres per cold adapter by ${NODES} nodes, with so many callers each: all at once ${words(together)}; one node after another ${words(inTurn)}. Callers of one node share a fetch; nodes share what has reached Redis.`,
  );
}

type Asking = (nodes: Fleet['nodes'], user: number, callers: number) => Promise<void>;

async function atOnce(nodes: Fleet['nodes'], user: number, callers: number): Promise<void> {
  const at = sharedNow() + HEAD_START_US;
  await Promise.all(nodes.map((node) => node.call('loadAt', user, callers, at)));
}

/** The next asks when the one before was answered. */
async function oneAfterAnother(nodes: Fleet['nodes'], user: number, callers: number): Promise<void> {
  for (const node of nodes) await node.call('loadAt', user, callers, 0);
}

async function bodies(nodes: Fleet['nodes']): Promise<number> {
  const counts = await Promise.all(nodes.map((node) => node.call<number>('postgresLoads')));
  return counts.reduce((a, b) => a + b, 0);
}
