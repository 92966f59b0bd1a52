/** A rebuild that dies behind any of its transactions: what is there goes on working as it is, and the same call ends it. */
import { expect, test } from 'vitest';
import { cancelRebuild } from '../../../src/operations/rebuild/rebuild.js';
import type { Tables } from '../../../src/operations/tables.js';
import { user } from '../../cli/archives.js';
import { FOUR, headsAreTrue, into, meeting, PLAIN, type Place, rowsOf, usePlaces } from './support.js';

const place = usePlaces();

/** The real tables until `transactions` of them are committed; then they are gone, as a process is. */
function dyingAfter(tables: Tables, transactions: number): { tables: Tables; committed: () => number } {
  let committed = 0;
  const living = () => {
    if (committed >= transactions) throw new Error('killed');
  };
  const mortal: Tables = Object.create(tables, {
    config: { get: () => tables.config },
    check: { value: () => tables.check() },
    rows: {
      value: async (...args: Parameters<Tables['rows']>) => {
        living();
        return await tables.rows(...args);
      },
    },
    unhurried: {
      value: async (...args: Parameters<Tables['unhurried']>) => {
        living();
        await tables.unhurried(...args);
      },
    },
    transaction: {
      value: async (work: Parameters<Tables['transaction']>[0]) => {
        living();
        const result = await tables.transaction(work);
        committed++;
        return result;
      },
    },
  });
  return { tables: mortal, committed: () => committed };
}

let version = 100;

/** As nodes and strangers go on writing, whatever is left lying about: to every user, one of each kind. */
async function write(db: Place): Promise<void> {
  version++;
  await db.sql(
    `insert into lora_adapters (user_id, version, weights, size_bytes) select id, $1, '\\x01', 1 from users`,
    [version],
  );
  await db.sql(`update lora_adapters set weights = '\\x02' where version = $1 and user_id = $2`, [version, user(1)]);
  await db.sql('delete from lora_adapters where version = $1', [version - 1]);
}

test('there and back, killed behind each transaction, with writes before it is gone on with', async () => {
  const db = await place();
  let points = 0;
  for (let dying = 1, alive = false; !alive; dying++) {
    alive = true;
    for (const target of [{ partitions: 2 }, PLAIN]) {
      const mortal = dyingAfter(db.tables, dying);
      const outcome = await into(mortal.tables, target).then(
        () => 'done',
        ({ message }) => message,
      );
      if (outcome !== 'done') {
        expect(outcome).toBe('killed');
        alive = false;
        points++;
        await write(db);
        expect(await headsAreTrue(db)).toEqual([]);
      }
      const rows = await rowsOf(db);
      await into(db.tables, target);
      expect([dying, target, await rowsOf(db)]).toEqual([dying, target, rows]);
      expect(
        await db.sql(`select relname from pg_class where relname ~ '_next|_replaced|lora_store_rebuild'
          union all select proname from pg_proc where proname ~ 'lora_store_rebuild'`),
      ).toEqual([]);
    }
  }
  expect(points).toBeGreaterThan(15);
  expect(await headsAreTrue(db)).toEqual([]);
});

test('given up behind each transaction before the swap, it leaves nothing', async () => {
  const db = await place();
  const signal = new AbortController().signal;
  for (let dying = 1; ; dying++) {
    const { tables } = dyingAfter(db.tables, dying);
    await expect(into(tables, FOUR)).rejects.toThrow('killed');
    await write(db);
    const cancelled = await cancelRebuild(db.tables, { signal, patienceMs: 20_000 }).catch(({ message }) => message);
    if (cancelled !== true) {
      expect(cancelled).toContain('the new table is in its place already: `lora-store partition --by hash --count 4`');
      expect(dying).toBeGreaterThan(5);
      break;
    }
    await write(db);
    expect(
      await db.sql(`select relname from pg_class where relname ~ '_next|_replaced|lora_store_rebuild|lora_adapters_h'
        union all select proname from pg_proc where proname ~ 'lora_store_rebuild|settle_partition'`),
    ).toEqual([]);
  }
  expect(await headsAreTrue(db)).toEqual([]);
});

test('another shape than the one that was begun is refused', async () => {
  const db = await place();
  await expect(into(dyingAfter(db.tables, 4).tables, FOUR)).rejects.toThrow('killed');
  await expect(into(db.tables, { partitions: 8 })).rejects.toThrow(
    'a rebuild into 4 hash partitions by user_id is under way: end it with `lora-store partition --by hash --count 4`',
  );
  await expect(into(db.tables, PLAIN)).rejects.toThrow('is under way');
});

test('a second one at the same time is refused, and told which session holds the first one', async () => {
  const db = await place();
  const other = await db.session();
  await other.query('select pg_advisory_lock(8317012604911774)');
  const { rows } = await other.query<{ pid: number }>('select pg_backend_pid() as pid');
  await expect(into(db.tables, FOUR)).rejects.toThrow(
    new RegExp(
      `another process is at work on this, session ${rows[0]?.pid} \\(idle since .*\\) of the server.*pg_terminate_backend`,
    ),
  );
});

test('whoever has lost his session before he begins leaves alone what another one has begun', async () => {
  const db = await place();
  const tables = meeting(db.tables, {
    at: /^create table .*lora_store_rebuild \(/,
    async before() {
      await db.sql(
        `select pg_terminate_backend(pid, 10000) from pg_locks where locktype = 'advisory' and database = (
         select oid from pg_database where datname = current_database())`,
      );
      await expect(into(dyingAfter(db.tables, 3).tables, FOUR)).rejects.toThrow('killed');
    },
  });
  await expect(into(tables, FOUR)).rejects.toThrow('another process has taken this over');
  expect(await into(db.tables, FOUR)).toMatchObject({ rows: 18 });
});

test('a difference between the tables is named, and the live one stays in use', async () => {
  const db = await place();
  const row = `user_id = '${user(3)}' and version = 2`;
  for (const [damage, told] of [
    [
      `update lora_adapters_next set weights = '\\x00' where ${row}`,
      /1 of 18 rows differ, the first one another: 'default' version 2 of user/,
    ],
    [`delete from lora_adapters_next where ${row}`, /1 of 18 rows differ, the first one missing: /],
    [`update lora_adapters_next set created_at = created_at + interval '1 us' where ${row}`, /the first one another: /],
    [
      `insert into lora_adapters_next (user_id, version, weights, size_bytes) values ('${user(6)}', 9, '\\x00', 1)`,
      /the first one too many: /,
    ],
  ] as const) {
    // build, partitions, mirror, copy, compare: then somebody meddles.
    await expect(into(dyingAfter(db.tables, 6).tables, FOUR)).rejects.toThrow('killed');
    expect(await db.sql('select phase from lora_store_rebuild')).toEqual([{ phase: 'compare' }]);
    await db.sql(damage);
    await expect(into(db.tables, FOUR)).rejects.toThrow(told);
    expect(await db.sql(`select relkind::text from pg_class where oid = 'lora_adapters'::regclass`)).toEqual([
      { relkind: 'r' },
    ]);
    expect(await cancelRebuild(db.tables, { signal: new AbortController().signal, patienceMs: 20_000 })).toBe(true);
  }
});

/** A statement of each phase, none in a transaction that has begun, and how often it is sent before that. */
test.each([
  ['the build', /reltuples/, 0, 3],
  ['the copy', /octet_length\(weights\) from/, 0, 3],
  ['the comparison', /octet_length\(weights\) from/, 2, 3],
  ['the swap', /^analyze/, 0, 3],
  // The second one is as far as a swap itself: it is another one all the same.
  ['the swap of what is another, and as far', /^analyze/, 0, 6],
])(
  'in %s, whoever has lost his session without a word does nothing more to what another one began',
  async (_, at, times, transactions) => {
    const db = await place();
    const rows = await rowsOf(db);
    const tables = meeting(db.tables, ...Array.from({ length: times }, () => ({ at })), {
      at,
      async before() {
        await db.sql(
          `select pg_terminate_backend(pid, 10000) from pg_locks where locktype = 'advisory' and database = (
           select oid from pg_database where datname = current_database())`,
        );
        expect(await cancelRebuild(db.tables, { signal: new AbortController().signal, patienceMs: 20_000 })).toBe(true);
        await expect(into(dyingAfter(db.tables, transactions).tables, FOUR)).rejects.toThrow('killed');
      },
    });
    await expect(into(tables, FOUR)).rejects.toThrow('another process has taken this over');
    expect(await rowsOf(db)).toEqual(rows);
    expect(await into(db.tables, FOUR)).toMatchObject({ rows: 18 });
    expect(await rowsOf(db)).toEqual(rows);
  },
);

test.each([
  ['copy', 4],
  ['compare', 6],
])(
  'altered while nobody was at it, in the phase %s, it is said to be so, and given up',
  async (phase, transactions) => {
    const db = await place();
    await expect(into(dyingAfter(db.tables, transactions).tables, FOUR)).rejects.toThrow('killed');
    expect(await db.sql('select phase from lora_store_rebuild')).toEqual([{ phase }]);
    await db.sql('alter table lora_adapters add column mine int');
    await expect(into(db.tables, FOUR)).rejects.toThrow(/was altered since.*--cancel/);
    expect(await cancelRebuild(db.tables, { signal: new AbortController().signal, patienceMs: 20_000 })).toBe(true);
    expect(await into(db.tables, FOUR)).toMatchObject({ rows: 18 });
  },
);

test('altered during the copy, it is said to be so before the comparison', async () => {
  const db = await place();
  const tables = meeting(db.tables, {
    at: /pg_blocking_pids/,
    before: () => db.sql('alter table lora_adapters add column mine int'),
  });
  await expect(into(tables, FOUR)).rejects.toThrow(/was altered since.*--cancel/);
});
