/** Thousands of loads at once: one query for a key, no more connections than there are, a queue with an end. */
import { afterEach, expect, test } from 'vitest';
import { StorageOverloadedError } from '../../../src/errors.js';
import type { LoRAStorage } from '../../../src/storage/lora-storage.js';
import { endPool } from '../../support/pools.js';
import { useStorage } from '../../support/storage.js';
import { waitFor } from '../../support/wait.js';
import { countingPool, holdHeads, insertAdapters, waitingSessions } from './support.js';

const bench = useStorage();
const MANY = 5000;
/** Thousands that wait for a lock, on a machine that has other things to do. */
const patient = { maxStalenessMs: 60_000, postgresTimeoutMs: 60_000 };

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function counted(options = {}) {
  const { pool, sent } = countingPool(bench.postgresUrl, 8);
  const node = await bench.open({ postgres: pool, ...patient, ...options });
  closing.push(() => node.close().then(() => endPool(pool)));
  return { node, loads: () => sent.filter((name) => name.startsWith('load')) };
}

/** Of one key, by turns in each way there is. */
function loadsOf(node: LoRAStorage, userId: string, first: number): Promise<{ userId: string } | undefined>[] {
  const ways = [
    () => node.loadAdapter(userId),
    () => node.loadAdapters([{ userId }, { userId }]).then(([adapter]) => adapter as { userId: string }),
    () => node.loadAdapterInfo(userId).then(({ adapter }) => adapter),
    () => node.loadAdapterOr(userId, 'default', () => expect.unreachable()),
  ];
  return Array.from({ length: MANY }, (_, i) => ways[(first + i) % ways.length]?.() ?? expect.unreachable());
}

test.each([
  ['with Redis', {}],
  ['without', { redis: false as const }],
])('5,000 loads of one cold key make one query on each node, whoever asks and how: %s', async (_how, options) => {
  const [userId = ''] = await insertAdapters(bench, 1);
  const nodes = [await counted(options), await counted(options)];
  const heads = await holdHeads(bench.postgresUrl);
  const loading = nodes.flatMap(({ node }, i) => loadsOf(node, userId, i));
  await waitFor(async () => (await waitingSessions(bench)) === 2);
  await heads.release();
  const loaded = await Promise.all(loading);
  expect(loaded.every((adapter) => adapter?.userId === userId)).toBe(true);
  expect(nodes.map(({ loads }) => loads())).toEqual([['load'], ['load_many']]);
  for (const { node } of nodes) {
    expect(node.cacheStats()).toMatchObject({ coalesced: MANY - 1, postgres: { loads: 1, errors: 0 } });
  }
});

/** Sessions of one pool that are connected, and those that are at work. */
async function sessions(application: string): Promise<{ open: number; busy: number }> {
  const [row] = await bench.sql<{ open: number; busy: number }>(
    `select count(*)::int as open, count(*) filter (where state <> 'idle')::int as busy
     from pg_stat_activity where application_name = $1`,
    [application],
  );
  return row ?? { open: 0, busy: 0 };
}

test('of 5,000 cold keys never more than the connections of the pool are asked for at a time', async () => {
  const users = await insertAdapters(bench, MANY);
  const name = `crowd of ${bench.namespace}`.slice(0, 60);
  const postgres = { connectionString: bench.postgresUrl, max: 6, application_name: name };
  const node = await bench.open({ postgres, redis: false, ...patient });
  closing.push(() => node.close());
  const heads = await holdHeads(bench.postgresUrl);
  const loading = Promise.all(users.map((userId) => node.loadAdapter(userId)));
  await waitFor(async () => (await sessions(name)).busy === 6);
  // All 5,000 are asked for, and those that are not among the six do not ask the server for anything.
  const most = await sessions(name);
  await heads.release();
  let done = false;
  const watching = (async () => {
    for (; !done; ) most.open = Math.max(most.open, (await sessions(name)).open);
  })();
  const loaded = await loading;
  done = true;
  await watching;
  expect(most).toEqual({ open: 6, busy: 6 });
  expect(loaded.map(({ userId }) => userId)).toEqual(users);
  expect(node.cacheStats().postgres).toMatchObject({ loads: MANY, errors: 0 });
});

test('past maxQueue a load is refused at once and told what to do, and those before it are served', async () => {
  const users = await insertAdapters(bench, MANY);
  const postgres = { connectionString: bench.postgresUrl, max: 4 };
  const node = await bench.open({ postgres, redis: false, maxQueue: 50, ...patient });
  closing.push(() => node.close());
  const degraded: unknown[] = [];
  node.on('degraded', (event) => degraded.push(event));
  const heads = await holdHeads(bench.postgresUrl);
  const loading = users.map((userId) => node.loadAdapter(userId));
  const settled = Promise.allSettled(loading);
  // Nobody can have been served yet: whoever has an answer was refused.
  const refused = await Promise.all(loading.slice(54).map((load) => load.catch((error) => error)));
  expect(refused.filter((error) => error instanceof StorageOverloadedError)).toHaveLength(MANY - 54);
  expect(refused[0].message).toMatch(/^50 calls are waiting for Postgres already: raise maxQueue or the pool's max/);
  // A key that is asked for already takes no place in the queue.
  const joined = node.loadAdapter(users[53] as string);
  await heads.release();
  const served = (await settled).slice(0, 54);
  expect(served.map((result) => result.status === 'fulfilled' && result.value.userId)).toEqual(users.slice(0, 54));
  expect((await joined).userId).toBe(users[53]);
  // Too many for a moment is no outage: those refused have left nothing behind, and are served when they come again.
  expect(degraded).toEqual([]);
  const again = await node.loadAdapters(users.slice(54).map((userId) => ({ userId })));
  expect(again.map((adapter) => adapter && 'userId' in adapter && adapter.userId)).toEqual(users.slice(54));
});
