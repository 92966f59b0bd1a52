/** How a prune goes through many adapters: what it reads, where it stops and goes on, and who is at it beside it. */
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { PruneProgress } from '../../src/storage/prune.js';
import { useStorage } from '../support/storage.js';
import { waitFor } from '../support/wait.js';

const bench = useStorage();

// As in a table that was adopted: ids are no key there, and have no index.
beforeAll(() => bench.sql('alter table lora_adapters drop constraint lora_adapters_pkey'));

// Heads outlive their users.
beforeEach(() => bench.sql('truncate users, lora_adapter_heads cascade'));

/** Adapters: so many that a scan of all for each batch of 500 is far more than looking at each. */
const MANY = 8000;

type Node = Awaited<ReturnType<typeof bench.open>>;

const FIRST = '00000000-0000-0000-0000-000000000000';
const LAST = 'ffffffff-ffff-ffff-ffff-ffffffffffff';

const userAt = (n: number) => `10000000-0000-0000-0000-${String(n).padStart(12, '0')}`;

/** Versions 1 to `versions` of `adapters` adapters, of a user each: userAt(1) and on. */
async function fill(adapters: number, versions: number): Promise<void> {
  await bench.sql(
    `insert into users select ('10000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid from generate_series(1, $1) n`,
    [adapters],
  );
  await bench.sql(
    `insert into lora_adapters (user_id, version, weights, size_bytes, created_at)
     select id, v, 'x', 1, now() - ($1 - v) * interval '1 day' from users, generate_series(1, $1::int) v`,
    [versions],
  );
}

async function left(): Promise<{ versions: number; adapters: number }> {
  const [row] = await bench.sql<{ versions: number; adapters: number }>(
    'select count(*)::int as versions, count(distinct (user_id, adapter_name))::int as adapters from lora_adapters',
  );
  return row as { versions: number; adapters: number };
}

/** Rows of lora_adapters, and entries of its indexes, that were read so far by sessions that have ended. */
async function reads(): Promise<number> {
  await waitFor(async () => {
    const others = `select from pg_stat_activity where datname = current_database() and application_name = 'lora-store'`;
    return (await bench.sql(others)).length === 0;
  });
  const [row] = await bench.sql<{ count: number }>(
    `select (select seq_tup_read from pg_stat_user_tables where relname = 'lora_adapters')::int
       + (select sum(idx_tup_read) from pg_stat_user_indexes where relname = 'lora_adapters')::int as count`,
  );
  return row?.count ?? 0;
}

test.each([
  ['pruneVersions', (node) => node.pruneVersions({ keepLatest: 1 })],
  ['pruneOlderThan', (node) => node.pruneOlderThan({ olderThanDays: 0.5 })],
] satisfies [string, (node: Node) => Promise<number>][])(
  '%s reads each row a few times, not the table for each batch',
  async (_, prune) => {
    await fill(MANY, 2);
    await bench.sql('analyze lora_adapters, lora_adapter_heads');
    const before = await reads();
    const node = await bench.open({ redis: false, changeFeed: false });
    expect(await prune(node)).toBe(MANY);
    await node.close();
    expect((await reads()) - before).toBeLessThan(25 * MANY);
    expect(await left()).toEqual({ versions: MANY, adapters: MANY });
  },
);

test('pages meet without a gap, from the first of all keys to the last', async () => {
  await fill(1001, 2);
  // No adapter of ours is named '', but a row may be.
  for (const [user, name] of [
    [FIRST, ''],
    [LAST, '\uffff'.repeat(100)],
  ]) {
    await bench.sql('insert into users values ($1)', [user]);
    await bench.sql(
      `insert into lora_adapters (user_id, adapter_name, version, weights, size_bytes)
       select $1, $2, v, 'x', 1 from generate_series(1, 3) v`,
      [user, name],
    );
  }
  const node = await bench.open();
  const seen: PruneProgress[] = [];
  expect(await node.pruneVersions({ keepLatest: 1, onProgress: (progress) => seen.push(progress) })).toBe(1005);
  expect(await left()).toEqual({ versions: 1003, adapters: 1003 });
  expect(seen.at(-1)).toEqual({ adapters: 1003, deleted: 1005, userId: LAST });
});

test('of one user alone, whose neighbours are left', async () => {
  await fill(3, 3);
  const node = await bench.open();
  expect(await node.pruneVersions({ keepLatest: 2, userId: userAt(2) })).toBe(1);
  expect(await node.pruneOlderThan({ olderThanDays: 0.5, userId: userAt(2).toUpperCase() })).toBe(1);
  expect(await left()).toEqual({ versions: 7, adapters: 3 });
});

test.each([
  ['pruneVersions', (node, userId) => node.pruneVersions({ keepLatest: 1, userId })],
  ['pruneOlderThan', (node, userId) => node.pruneOlderThan({ olderThanDays: 0.5, userId })],
  ['forgetUser', async (node, userId) => (await node.forgetUser(userId)) - 1],
] satisfies [string, (node: Node, userId: string) => Promise<number>][])(
  '%s: a row of another user with the same id stays',
  async (_, remove) => {
    await fill(2, 2);
    await bench.sql(`update lora_adapters set id = '${FIRST}'`);
    expect(await remove(await bench.open(), userAt(1))).toBe(1);
    expect(await bench.sql('select version from lora_adapters where user_id = $1', [userAt(2)])).toHaveLength(2);
  },
);

describe('ended in the middle', () => {
  test('no batch is begun any more, and the next call goes on where it was', async () => {
    await fill(1200, 2);
    const node = await bench.open();
    const stop = new AbortController();
    const seen: PruneProgress[] = [];
    const onProgress = (progress: PruneProgress) => {
      seen.push(progress);
      stop.abort(new Error('enough'));
    };
    await expect(node.pruneVersions({ keepLatest: 1, signal: stop.signal, onProgress })).rejects.toThrow('enough');
    expect(seen).toEqual([{ adapters: 500, deleted: 500, userId: userAt(500) }]);
    expect(await left()).toEqual({ versions: 1900, adapters: 1200 });

    const rest: PruneProgress[] = [];
    const next = { fromUserId: userAt(500), onProgress: (progress: PruneProgress) => rest.push(progress) };
    expect(await node.pruneVersions({ keepLatest: 1, ...next })).toBe(700);
    expect(rest.at(-1)).toMatchObject({ adapters: 701, deleted: 700 });
  });

  test('before it began: nothing is deleted', async () => {
    await fill(1, 2);
    const node = await bench.open();
    const signal = AbortSignal.abort(new Error('never mind'));
    await expect(node.pruneOlderThan({ olderThanDays: 0, signal })).rejects.toThrow('never mind');
    expect(await left()).toEqual({ versions: 2, adapters: 1 });
  });
});

describe('among others', () => {
  let other: pg.Client;

  beforeAll(async () => {
    other = new pg.Client(bench.postgresUrl);
    await other.connect();
  });
  afterAll(() => other?.end());

  const waiting = () =>
    waitFor(
      async () =>
        (
          await bench.sql(
            `select from pg_stat_activity where datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0`,
          )
        ).length,
      { what: 'the prune to wait' },
    );

  test('rows that another took first are not the end of the work', async () => {
    await fill(1, 1301);
    const node = await bench.open();
    // 1. Another prune has the first batch. 2. Ours chose the same rows, and waits. 3. They are gone; the rest is not.
    await other.query('begin');
    await other.query('delete from lora_adapters where version <= 500');
    const pruning = node.pruneVersions({ keepLatest: 1 });
    await waiting();
    await other.query('commit');
    expect(await pruning).toBe(800);
    expect(await left()).toEqual({ versions: 1, adapters: 1 });
  });

  test.each([
    ['pruneVersions', (node) => node.pruneVersions({ keepLatest: 1 })],
    ['pruneOlderThan', (node) => node.pruneOlderThan({ olderThanDays: 0.5 })],
  ] satisfies [string, (node: Node) => Promise<number>][])(
    '%s keeps what became the latest after it was chosen',
    async (_, prune) => {
      await fill(1, 3);
      const node = await bench.open();
      // 1. Another deletes the latest. 2. Ours chose the two before it, and waits. 3. The latest is gone: 2 is that now.
      await other.query('begin');
      await other.query('delete from lora_adapters where version = 3');
      const pruning = prune(node);
      await waiting();
      await other.query('commit');
      expect(await pruning).toBe(0);
      expect(await left()).toEqual({ versions: 2, adapters: 1 });
      expect(await prune(node)).toBe(1);
      expect(await bench.sql('select version from lora_adapters')).toEqual([{ version: 2 }]);
    },
  );
});

test('pruneOlderThan keeps the newest row also where the head does not know of it', async () => {
  await fill(1, 1);
  await bench.sql(
    `begin; set local session_replication_role = replica;
     insert into lora_adapters (user_id, version, weights, size_bytes) values ('${userAt(1)}', 2, 'x', 1);
     update lora_adapters set created_at = now() - interval '9 days'; commit`,
  );
  const node = await bench.open();
  expect(await node.pruneOlderThan({ olderThanDays: 1 })).toBe(1);
  expect(await bench.sql('select version from lora_adapters')).toEqual([{ version: 2 }]);
  expect(await node.pruneOlderThan({ olderThanDays: 1, includeLatest: true })).toBe(1);
});
