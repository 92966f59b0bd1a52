/**
 * Saves over the same users, a prune that keeps two versions of each, and VACUUM, three times: what is dead, how long it takes to
 * clear away, and whether the tables stay as large as they are. Autovacuum is off for these tables: it would do a part of it.
 */
import assert from 'node:assert/strict';
import type { LoRAStorage } from 'lora-store';
import type pg from 'pg';
import { waitFor } from '../../test/support/wait.js';
import type { Bench } from '../harness/bench.js';
import { userAt, withClient } from '../harness/population.js';
import type { Constants } from './constants.js';
import { figure } from './constants.js';
import type { Population } from './population.js';
import { adapterOf, openSaver } from './saves.js';
import { bodiesOf, type Sizes, sizesOf } from './sizes.js';

const KEPT = 2;
const ROUNDS = 3;
const WRITERS = 8;
/** What autovacuum pauses for after each share of its work, by default. */
const PACE = '2ms';

interface Counters {
  readonly updates: number;
  readonly hot: number;
  readonly deadHeads: number;
  readonly deadBodies: number;
}

interface Round {
  readonly saves: number;
  readonly pruned: number;
  readonly pruneSeconds: number;
  readonly dead: Counters;
  readonly bodiesSeconds: number;
  readonly headsSeconds: number;
  readonly sizes: Sizes;
}

/** Of the adapters as the fill has left them: all pages are looked at, and hardly a row is dead. */
export async function firstVacuum(of: Population): Promise<number> {
  return await withClient(of.url, async (client) => {
    await client.query('vacuum analyze lora_adapter_heads');
    await client.query('analyze users');
    return await secondsOf(() => client.query('vacuum (analyze) lora_adapters'));
  });
}

/** users: how many are saved over; each gets `versions` more a round. freshBytes: of a version after the fill. */
export async function measureVacuum(
  bench: Bench,
  of: Population,
  { users, versions, freshBytes }: { users: number; versions: number; freshBytes: number },
): Promise<Partial<Constants>> {
  return await withClient(of.url, async (client) => {
    // What was saved before is no part of it.
    await withSaver(of, (storage) => storage.pruneVersions({ keepLatest: KEPT }));
    await client.query('vacuum lora_adapters');
    await client.query('vacuum lora_adapter_heads');
    const rounds: Round[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      bench.doing(`${of.name}: round ${round + 1} of ${ROUNDS} of saves, prune and VACUUM`);
      rounds.push(await oneRound(client, of, { users, versions, throttled: round === 1 }));
    }
    for (const [i, round] of rounds.entries()) bench.note(inWords(of, i + 1, round));
    const [first, second, last] = rounds as [Round, Round, Round];
    const left = await versionsOf(client);
    const sum = (of: (round: Round) => number) => rounds.reduce((total, round) => total + of(round), 0);
    return {
      hotShare: sum(({ dead }) => dead.hot) / sum(({ dead }) => dead.updates),
      deadHeadsPerSave: sum(({ dead }) => dead.deadHeads) / sum(({ saves }) => saves),
      pruneRowsPerSecond: last.pruned / last.pruneSeconds,
      prunedShare: last.pruned / (left + last.pruned),
      vacuumBodiesUs: (1e6 * last.bodiesSeconds) / last.pruned,
      vacuumThrottledUs: (1e6 * second.bodiesSeconds) / second.pruned,
      vacuumHeadsSeconds: last.headsSeconds,
      bloat: bodiesOf(last.sizes) / bodiesOf(first.sizes),
      bloatOverFresh: bodiesOf(last.sizes) / (left * freshBytes),
    };
  });
}

/** What its connections did is in the statistics at once when they end, and else up to ten seconds later. */
async function withSaver<T>(of: Population, work: (storage: LoRAStorage) => Promise<T>): Promise<T> {
  const storage = await openSaver(of);
  try {
    return await work(storage);
  } finally {
    await storage.close();
  }
}

async function versionsOf(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ count: string }>('select count(*) from lora_adapters');
  return Number(rows[0]?.count);
}

async function oneRound(
  client: pg.Client,
  of: Population,
  { users, versions, throttled }: { users: number; versions: number; throttled: boolean },
): Promise<Round> {
  const before = await countersOf(client);
  const saves = users * versions;
  let next = 0;
  let [pruned, pruneSeconds] = [0, 0];
  await withSaver(of, async (storage) => {
    const writer = async () => {
      while (next < saves) await storage.saveAdapter(adapterOf(of, userAt(next++ % users)));
    };
    await Promise.all(Array.from({ length: WRITERS }, writer));
    pruneSeconds = await secondsOf(async () => {
      pruned = await storage.pruneVersions({ keepLatest: KEPT });
    });
  });
  assert.ok(pruned > 0, 'nothing was there to prune');
  const after = await waitFor(
    async () => {
      const counters = await countersOf(client);
      return counters.updates - before.updates >= saves && counters.deadBodies >= pruned && counters;
    },
    { timeoutMs: 90_000, intervalMs: 250, what: 'the statistics of saves and prune' },
  );
  await client.query(`set vacuum_cost_delay = '${throttled ? PACE : '0'}'`);
  const bodiesSeconds = await secondsOf(() => client.query('vacuum lora_adapters'));
  const headsSeconds = await secondsOf(() => client.query('vacuum lora_adapter_heads'));
  const dead = { ...after, updates: after.updates - before.updates, hot: after.hot - before.hot };
  return { saves, pruned, pruneSeconds, dead, bodiesSeconds, headsSeconds, sizes: await sizesOf(of) };
}

async function countersOf(client: pg.Client): Promise<Counters> {
  const { rows } = await client.query<Record<keyof Counters, string>>(`
    select h.n_tup_upd as updates, h.n_tup_hot_upd as hot, h.n_dead_tup as "deadHeads", b.n_dead_tup as "deadBodies"
    from pg_stat_user_tables h, pg_stat_user_tables b
    where h.relname = 'lora_adapter_heads' and b.relname = 'lora_adapters'`);
  return Object.fromEntries(
    Object.entries(rows[0] ?? {}).map(([name, value]) => [name, Number(value)]),
  ) as unknown as Counters;
}

export async function secondsOf(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return (performance.now() - began) / 1000;
}

function inWords(
  { name }: Population,
  round: number,
  { saves, pruned, pruneSeconds, dead, bodiesSeconds, headsSeconds, sizes }: Round,
): string {
  const pace = round === 2 ? ' at the pace of autovacuum' : '';
  return [
    `${name}, round ${round}: ${saves} saves, ${dead.hot} of ${dead.updates} updates of heads HOT`,
    `${pruned} versions pruned in ${figure(pruneSeconds, 's')}`,
    `dead then: ${dead.deadBodies} adapters, ${dead.deadHeads} heads`,
    `VACUUM${pace}: adapters ${figure(bodiesSeconds, 's')}, heads ${figure(headsSeconds, 's')}`,
    `afterwards: adapters ${figure(bodiesOf(sizes), 'B')}, heads ${figure(sizes.heads, 'B')}`,
  ]
    .join('; ')
    .concat('.');
}
