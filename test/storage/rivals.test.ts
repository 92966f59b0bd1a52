/** Writers of our own against each other: saves, deletes, rollbacks and prunes of the same adapters at the same time. */
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { expect, test } from 'vitest';
import type { LoRAStorage } from '../../src/storage/lora-storage.js';
import { smallAdapter, useStorage } from '../support/storage.js';
import { waitFor } from '../support/wait.js';

const bench = useStorage();

/** Errors that are answers: the version was gone, or somebody was first. */
const ANSWERS = ['ADAPTER_NOT_FOUND', 'VERSION_CONFLICT'];

async function sessions(): Promise<number> {
  const [row] = await bench.sql<{ count: number }>(
    `select count(*)::int from pg_stat_activity
     where datname = current_database() and application_name = 'lora-store'`,
  );
  return row?.count ?? 0;
}

async function deadlocks(): Promise<number> {
  const [row] = await bench.sql<{ deadlocks: number }>(
    'select deadlocks::int from pg_stat_database where datname = current_database()',
  );
  return row?.deadlocks ?? 0;
}

function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

test('no call fails for another’s sake, no version is given twice, and both nodes end on the same one', async () => {
  const nodes = [await bench.open(), await bench.open()];
  const users = [await bench.user(), await bench.user()];
  const random = seeded(7);
  const pick = <T>(from: readonly T[]) => from[Math.floor(random() * from.length)] as T;
  const given = new Map(users.map((userId) => [userId, [] as number[]]));
  const failures: unknown[] = [];

  const acts: ((node: LoRAStorage, userId: string) => Promise<unknown>)[] = [
    async (node, userId) => given.get(userId)?.push(await node.saveAdapter(smallAdapter(userId))),
    async (node, userId) =>
      given.get(userId)?.push(await node.rollbackAdapter(userId, 'default', pick([1, 2, 3, 4, 5]))),
    async (node, userId) => {
      const { version } = await node.loadAdapterInfo(userId);
      given.get(userId)?.push(await node.saveAdapter(smallAdapter(userId), 'default', { expectedVersion: version }));
    },
    (node, userId) => node.deleteAdapterVersion(userId, 'default', pick([1, 2, 3, 4, 5, 6])),
    (node, userId) => node.pruneVersions({ keepLatest: 2, userId }),
    (node, userId) => (random() < 0.1 ? node.deleteAdapter(userId) : node.loadAdapter(userId)),
  ];
  await Promise.all(
    Array.from({ length: 12 }, async () => {
      for (let i = 0; i < 25; i++) {
        await pick(acts)(pick(nodes), pick(users)).catch((error) => {
          if (!ANSWERS.includes(error.code)) failures.push(error);
        });
      }
    }),
  );

  expect(failures).toEqual([]);
  // A session counts what it saw when it ends.
  await Promise.all(nodes.map((node) => node.close()));
  await waitFor(async () => (await sessions()) === 0);
  expect(await deadlocks()).toBe(0);
  nodes.splice(0, 2, await bench.open(), await bench.open());

  for (const userId of users) {
    const versions = given.get(userId) ?? [];
    expect(versions.length).toBeGreaterThan(10);
    expect(new Set(versions).size).toBe(versions.length);
    const last = await (nodes[0] as LoRAStorage).saveAdapter(smallAdapter(userId));
    expect(last).toBeGreaterThan(Math.max(...versions));
    for (const node of nodes) await waitFor(async () => (await node.loadAdapterInfo(userId)).version === last);
  }
});

test('no update is lost: what each read and counted on, with expectedVersion, adds up', async () => {
  const nodes = [await bench.open(), await bench.open({ memory: false }), await bench.open({ redis: false })];
  const userId = await bench.user();
  const EACH = 10;
  let conflicts = 0;
  /** Counts one further than what is there, until nobody was in between; 0 is what a first-time saver expects. */
  const increment = async (node: LoRAStorage): Promise<number> => {
    for (;;) {
      const found = await node.loadAdapterInfo(userId).catch(() => undefined);
      const adapter = found?.adapter.clone() ?? smallAdapter(userId);
      adapter.trainingIterations++;
      try {
        return await node.saveAdapter(adapter, 'default', { expectedVersion: found?.version ?? 0 });
      } catch (error) {
        if ((error as { code: string }).code !== 'VERSION_CONFLICT') throw error;
        conflicts++;
      }
    }
  };
  const saved = await Promise.all(
    Array.from({ length: 6 }, async (_, i) => {
      const versions: number[] = [];
      while (versions.length < EACH) versions.push(await increment(nodes[i % 3] as LoRAStorage));
      return versions;
    }),
  );
  const all = Array.from({ length: 6 * EACH }, (_, i) => i + 1);
  expect(saved.flat().sort((a, b) => a - b)).toEqual(all);
  expect(conflicts).toBeGreaterThan(0);
  const rows = await bench.sql<{ version: number; counter: number }>(
    'select version, training_iterations as counter from lora_adapters where user_id = $1 order by version',
    [userId],
  );
  // Each version is one more than the one it was made of.
  expect(rows).toEqual(all.map((version) => ({ version, counter: version })));
  for (const node of nodes) expect((await node.loadAdapter(userId)).trainingIterations).toBe(6 * EACH);
});

test('what takes many rows at once does not deadlock with what takes one', async () => {
  const creating = await bench.open({ createMissingUsers: true });
  const nodes = [creating, await bench.open(), await bench.open({ redis: false })];
  const users = await Promise.all([bench.user(), bench.user(), bench.user()]);
  const random = seeded(11);
  const pick = <T>(from: readonly T[]) => from[Math.floor(random() * from.length)] as T;
  const names = ['a', 'b', 'c'];
  const before = await deadlocks();
  const failures: unknown[] = [];
  const acts: ((node: LoRAStorage, userId: string) => Promise<unknown>)[] = [
    (node, userId) => node.saveAdapter(smallAdapter(userId), pick(names)),
    (node, userId) => node.saveAdapter(smallAdapter(userId), pick(names)),
    (node, userId) => node.saveAdapter(smallAdapter(userId), pick(names), { expectedVersion: 0 }),
    () => creating.saveAdapter(smallAdapter(randomUUID()), pick(names)),
    (node, userId) => node.deleteAdapter(userId, pick(names)),
    (node, userId) => node.rollbackAdapter(userId, pick(names), 1),
    (node, userId) => node.forgetUser(userId),
    (node) => node.pruneVersions({ keepLatest: 1 }),
    (node) => node.pruneOlderThan({ olderThanDays: 0.000001, includeLatest: true }),
    (node) => node.pruneOlderThan({ olderThanDays: 0.000001 }),
  ];
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      for (let i = 0; i < 20; i++) {
        await pick(acts)(pick(nodes), pick(users)).catch((error) => {
          if (!ANSWERS.includes(error.code)) failures.push(error);
        });
      }
    }),
  );
  expect(failures).toEqual([]);
  await Promise.all(nodes.map((node) => node.close()));
  await waitFor(async () => (await sessions()) === 0);
  expect(await deadlocks()).toBe(before);
});

test('forgetUser locks bodies in the order of every other write', async () => {
  const userId = await bench.user();
  const node = await bench.open();
  // By their place and by their age they are in the other order, whichever the planner takes them in.
  for (const version of [2, 1]) {
    await bench.sql(
      `insert into lora_adapters (user_id, version, weights, size_bytes, created_at, updated_at)
       values ($1, $2, '', 0, now() - interval '30 days', now() - $3 * interval '1 day')`,
      [userId, version, 3 - version],
    );
  }
  const before = await deadlocks();
  const waiting = async (count: number) =>
    (
      await bench.sql(
        `select from pg_stat_activity where datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0`,
      )
    ).length === count;
  const holder = new pg.Client(bench.postgresUrl);
  await holder.connect();
  await holder.query('begin');
  await holder.query('select from lora_adapters where user_id = $1 and version = 1 for update', [userId]);
  // 1. A prune waits for version 1 and will want version 2. 2. Whoever waits behind it must not hold that.
  const pruning = node.pruneOlderThan({ olderThanDays: 20, includeLatest: true });
  await waitFor(() => waiting(1));
  const forgetting = node.forgetUser(userId);
  await waitFor(() => waiting(2));
  await holder.query('commit');
  await holder.end();
  expect([await pruning, await forgetting]).toEqual([2, 0]);
  await node.close();
  await waitFor(async () => (await sessions()) === 0);
  expect(await deadlocks()).toBe(before);
});
