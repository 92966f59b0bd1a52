/** A rebuild and those who write meanwhile, interleaving by interleaving. What is in the new table in the end is what is in the old one. */
import type pg from 'pg';
import { expect, test } from 'vitest';
import { cancelRebuild } from '../../../src/operations/rebuild/rebuild.js';
import { once } from '../../../src/operations/rebuild/site.js';
import { Tables } from '../../../src/operations/tables.js';
import type { Session } from '../../../src/postgres/database.js';
import { user } from '../../cli/archives.js';
import { waitFor } from '../../support/wait.js';
import { FOUR, headsAreTrue, into, meeting, PLAIN, type Place, rowsOf, usePlaces } from './support.js';

const place = usePlaces();

/** The statement that copies a batch. */
const COPY = /for share of a skip locked/;
/** The first of the statements that compare. */
const COMPARE = /full join/;
/** Behind the copy, and behind the wait for old snapshots. */
const ANALYZE = /^analyze/;

const DELETED = `delete from lora_adapters where user_id = '${user(2)}' and version = 2`;
const REWRITTEN = `update lora_adapters set weights = '\\x07', size_bytes = 1 where user_id = '${user(2)}' and version = 2`;
const MOVED = `update lora_adapters set version = 9 where user_id = '${user(2)}' and version = 2`;
const ADDED = `insert into lora_adapters (user_id, version, weights, size_bytes) values ('${user(2)}', 5, '\\x05', 1)`;
const REPLACED = `with gone as (${DELETED} returning *) select 1`;

async function someoneWaits(db: Place): Promise<void> {
  await waitFor(
    async () =>
      (
        await db.sql(
          `select from pg_stat_activity where datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0`,
        )
      ).length > 0,
    { what: 'a session that waits for a lock' },
  );
}

async function version2(db: Place): Promise<unknown> {
  return await db.sql(
    `select encode(weights, 'hex') as weights from lora_adapters where user_id = $1 and version = 2`,
    [user(2)],
  );
}

test.each([
  ['a delete', DELETED],
  ['an update', REWRITTEN],
  ['an update of the key', MOVED],
])('%s of a row whose copy is made but not committed waits for it, and is made to both', async (_, write) => {
  for (const [from, target] of [
    [PLAIN, FOUR],
    [FOUR, PLAIN],
  ] as const) {
    const db = await place();
    await into(db.tables, from);
    const stranger = await db.session();
    let written: Promise<unknown> = Promise.resolve();
    const tables = meeting(db.tables, {
      at: COPY,
      // The batch is copied, its transaction still open.
      async after() {
        written = stranger.query(write);
        await someoneWaits(db);
      },
    });
    expect(await into(tables, target)).toMatchObject({ rows: write === DELETED ? 17 : 18 });
    await written;
    const found = await version2(db);
    if (write === REWRITTEN) expect(found).toEqual([{ weights: '07' }]);
    else expect(found).toEqual([]);
    expect(await headsAreTrue(db)).toEqual([]);
  }
});

test.each([
  ['READ COMMITTED', 'delete', DELETED, []],
  ['REPEATABLE READ', 'delete', DELETED, []],
  ['REPEATABLE READ', 'update', REWRITTEN, [{ weights: '07' }]],
  ['REPEATABLE READ', 'update of the key', MOVED, []],
])('at %s, a %s with a snapshot from before the copy, after it', async (isolation, _, write, found) => {
  const db = await place();
  const stranger = await db.session();
  let ended: Promise<unknown> = Promise.resolve();
  const tables = meeting(
    db.tables,
    // 1. Its snapshot is taken. 2. The batch is copied and committed. 3. It writes the row, whose copy it may not see.
    { at: COPY, before: () => stranger.query(`begin isolation level ${isolation}; select from users limit 1`) },
    {
      at: /pg_blocking_pids\(\$1/,
      async before() {
        await stranger.query(write);
        ended = stranger.query('commit');
        await ended;
      },
    },
  );
  await into(tables, FOUR);
  expect(await version2(db)).toEqual(found);
  expect(await headsAreTrue(db)).toEqual([]);
});

test('an older transaction that makes a row again under another key, beside a copy that it cannot see, may be sent again', async () => {
  const db = await place();
  await into(db.tables, FOUR);
  const stranger = await db.session();
  let refused: unknown;
  const renamed = `insert into lora_adapters (id, user_id, version, weights, size_bytes) select id, user_id, 9, weights, size_bytes from taken`;
  const again = async () => {
    await stranger.query(
      `create temp table taken as select * from lora_adapters where user_id = '${user(2)}' and version = 2`,
    );
    await stranger.query(DELETED);
    await stranger.query(renamed);
    await stranger.query('drop table taken; commit');
  };
  const tables = meeting(
    db.tables,
    { at: COPY, before: () => stranger.query('begin isolation level repeatable read; select from users limit 1') },
    {
      at: /pg_blocking_pids\(\$1/,
      async before() {
        refused = await again().catch((error) => error);
        await stranger.query('rollback; begin isolation level repeatable read');
        await again();
      },
    },
  );
  expect(await into(tables, PLAIN)).toMatchObject({ rows: 18 });
  expect(refused).toMatchObject({ code: '40001' });
  expect(await version2(db)).toEqual([]);
  expect(await headsAreTrue(db)).toEqual([]);
});

test.each([
  // A service that deletes the adapters and then their user: bodies first, against the order of every write of ours.
  ['a row', `delete from lora_adapters where user_id = '${user(2)}'`, user(2), 15],
  // One that deletes users in an order of its own.
  ['a user', `delete from users where id = '${user(5)}'`, user(2), 12],
])('%s that is locked is passed over, and no writer is in a deadlock', async (_, first, then, rows) => {
  const db = await place();
  const stranger = await db.session();
  let deleted: Promise<unknown> = Promise.resolve();
  const tables = meeting(db.tables, {
    at: COPY,
    before: () => stranger.query(`begin; ${first}`),
    async after() {
      // The copy holds all other rows now, and their users.
      deleted = stranger.query(`delete from users where id = '${then}'`).then(() => stranger.query('commit'));
      await someoneWaits(db);
    },
  });
  expect(await into(tables, FOUR)).toMatchObject({ rows });
  await deleted;
  expect(await db.sql('select from lora_adapters where user_id = $1', [then])).toEqual([]);
});

test('a row that stays locked is waited for with empty hands', async () => {
  const db = await place();
  const stranger = await db.session();
  let others: Promise<unknown> = Promise.resolve();
  const tables = meeting(
    db.tables,
    {
      at: COPY,
      before: () => stranger.query(`begin; select from lora_adapters where user_id = '${user(2)}' for update`),
    },
    {
      at: /where user_id = \$1 and adapter_name = \$2 and version = \$3 for share/,
      before: async () => {
        others = (async () => {
          await someoneWaits(db);
          // What it has copied already is nobody's: a delete of it goes through while it waits.
          await db.sql(`delete from lora_adapters where user_id = '${user(1)}' and version = 1`);
          await stranger.query('rollback');
        })();
      },
    },
  );
  await into(tables, FOUR);
  await others;
  expect(await rowsOf(db)).toHaveLength(17);
});

test.each([
  ['truncate', 'truncate lora_adapters', 0],
  ['insert', ADDED, 19],
  ['delete', DELETED, 17],
  ['delete and insert of the same version', `${REPLACED}; ${ADDED.replace(', 5,', ', 2,')}`, 18],
  ['delete of a user', `delete from users where id = '${user(2)}'`, 15],
])('%s after the copy is in both', async (_, write, rows) => {
  for (const [from, target] of [
    [PLAIN, FOUR],
    [FOUR, PLAIN],
  ] as const) {
    const db = await place();
    await into(db.tables, from);
    const tables = meeting(db.tables, { at: COMPARE, before: () => db.sql(write) });
    expect(await into(tables, target)).toMatchObject({ rows });
    expect(await rowsOf(db)).toHaveLength(rows);
    expect(await headsAreTrue(db)).toEqual([]);
  }
});

test.each(['lora_adapters', 'lora_adapters_h4_2'])(
  'TRUNCATE of %s through an older snapshot is refused',
  async (table) => {
    const db = await place();
    await into(db.tables, FOUR);
    const stranger = await db.session();
    let refused: unknown;
    const tables = meeting(
      db.tables,
      // 1. Its snapshot is taken. 2. All is copied. 3. It would empty the table, and see no copy.
      { at: COPY, before: () => stranger.query('begin isolation level repeatable read; select from users limit 1') },
      {
        at: /pg_blocking_pids\(\$1/,
        async before() {
          refused = await stranger.query(`truncate ${table}; commit`).catch((error) => error);
          await stranger.query('rollback');
        },
      },
    );
    expect(await into(tables, PLAIN)).toMatchObject({ rows: 18 });
    expect(refused).toMatchObject({
      code: '0A000',
      message: 'truncate at READ COMMITTED while lora_adapters is rebuilt',
    });
  },
);

test.each([
  [PLAIN, FOUR],
  [FOUR, PLAIN],
])('what a subscription applies, which fires no ordinary trigger, is in both: from %j', async (from, target) => {
  for (const [write, rows] of [
    [ADDED, 19],
    [DELETED, 17],
    ['truncate lora_adapters', 0],
  ] as const) {
    const db = await place();
    await into(db.tables, from);
    const applied = () => db.sql(`set session_replication_role = replica; ${write}; reset session_replication_role`);
    await into(meeting(db.tables, { at: ANALYZE, before: applied }), target);
    expect([write, (await rowsOf(db)).length]).toEqual([write, rows]);
  }
});

test.each([
  ['disabled', 'alter table TABLE disable trigger lora_store_rebuild_mirror', 'lora_adapters'],
  ['disabled on a partition', 'alter table TABLE disable trigger lora_store_rebuild_mirror', 'lora_adapters_h4_2'],
  ['disabled, and enabled again', 'alter table TABLE disable trigger all, enable trigger all', 'lora_adapters'],
  ['dropped', 'drop trigger lora_store_rebuild_mirror on TABLE', 'lora_adapters'],
  ['dropped for truncate', 'drop trigger lora_store_rebuild_mirror_truncate on TABLE', 'lora_adapters_h4_2'],
])('a mirror that somebody has %s ends it before the swap', async (_, meddle, table) => {
  const db = await place();
  await into(db.tables, FOUR);
  const tables = meeting(db.tables, { at: ANALYZE, before: () => db.sql(meddle.replace('TABLE', table)) });
  await expect(into(tables, PLAIN)).rejects.toThrow(
    /dropped a trigger on lora_adapters\w* that writes to both .*--cancel/,
  );
  expect(await db.sql(`select relkind::text from pg_class where oid = 'lora_adapters'::regclass`)).toEqual([
    { relkind: 'p' },
  ]);
});

test.each([PLAIN, FOUR])('a column of the owner cannot go or change while it is mirrored: of %j', async (from) => {
  const db = await place();
  await into(db.tables, from);
  await db.sql('alter table lora_adapters add column mine int default 1');
  const refused: unknown[] = [];
  const tables = meeting(db.tables, {
    at: ANALYZE,
    async before() {
      for (const change of ['drop column mine', 'alter mine type bigint', 'drop column weights']) {
        await db.sql(`alter table lora_adapters ${change}`).catch(({ code }) => refused.push(code));
      }
      await db.sql(`${REWRITTEN}; ${ADDED}`);
    },
  });
  expect(await into(tables, from === PLAIN ? FOUR : PLAIN)).toMatchObject({ changed: true });
  expect(refused).toEqual(['2BP01', '0A000', '2BP01']);
  expect(await version2(db)).toEqual([{ weights: '07' }]);
  expect(await rowsOf(db)).toHaveLength(19);
  await db.sql('alter table lora_adapters drop column mine');
});

test('an update of nothing but a column that came since is made to both, in what triggers made of it', async () => {
  const db = await place();
  const times = () => db.sql('select id, updated_at from lora_adapters order by id');
  const before = await times();
  let then: unknown[] = [];
  const tables = meeting(db.tables, {
    at: ANALYZE,
    async before() {
      await db.sql('alter table lora_adapters add column mine int');
      await db.sql('update lora_adapters set mine = 1');
      // Gone before the swap, which finds the table as the mirror knows it.
      await db.sql('alter table lora_adapters drop column mine');
      then = await times();
    },
  });
  await into(tables, FOUR);
  expect(then).not.toEqual(before);
  expect(await times()).toEqual(then);
});

test('a column that was dropped all the same makes saves fail, which is said, until it is given up', async () => {
  const db = await place();
  await db.sql('alter table lora_adapters add column mine int');
  const tables = meeting(db.tables, {
    at: ANALYZE,
    before: () => db.sql('alter table lora_adapters drop column mine cascade'),
  });
  await expect(into(tables, FOUR)).rejects.toThrow(/was altered since .* saves may fail .*--cancel/);
  await expect(db.sql(ADDED)).rejects.toThrow();
  expect(await cancelRebuild(db.tables, { signal: new AbortController().signal, patienceMs: 20_000 })).toBe(true);
  await db.sql(ADDED);
});

test('by a key that does not cascade, adapters and their user are deleted in two statements, and not in one', async () => {
  const db = await place();
  await db.sql(
    `alter table lora_adapters drop constraint lora_adapters_user_id_fkey, add foreign key (user_id) references users`,
  );
  const [adapters, owner] = [
    `delete from lora_adapters where user_id = '${user(2)}'`,
    `delete from users where id = '${user(2)}'`,
  ];
  const tables = meeting(db.tables, {
    at: COMPARE,
    async before() {
      await expect(db.sql(`with gone as (${adapters}) ${owner}`)).rejects.toMatchObject({ code: '23503' });
      await db.sql(`begin; ${adapters}; ${owner}; commit`);
    },
  });
  expect(await into(tables, FOUR)).toMatchObject({ rows: 15 });
});

test('writes that name a partition are in the plain table, too', async () => {
  const db = await place();
  await into(db.tables, FOUR);
  const partition = async (n: number) =>
    (await db.sql('select tableoid::regclass::text as name from lora_adapters where user_id = $1', [user(n)]))[0]
      ?.name as string;
  const written = await partition(2);
  const others = await Promise.all([1, 3, 4, 5, 6].map(async (n) => ({ n, name: await partition(n) })));
  const { n, name: truncated } = others.find(({ name }) => name !== written) as { n: number; name: string };
  const tables = meeting(db.tables, {
    at: COMPARE,
    before: () => db.sql(`truncate ${truncated}; ${ADDED.replace('into lora_adapters', `into ${written}`)}`),
  });
  await into(tables, PLAIN);
  expect(await db.sql('select from lora_adapters where user_id = $1', [user(n)])).toEqual([]);
  expect(await db.sql('select from lora_adapters where user_id = $1', [user(2)])).toHaveLength(4);
  expect(await headsAreTrue(db)).toEqual([]);
});

test('a transaction from before the copy is waited for, and named where it takes too long', async () => {
  const db = await place();
  const reader = await db.session();
  await reader.query(
    `set application_name = 'a long report'; begin isolation level repeatable read; select from users limit 1`,
  );
  await expect(into(db.tables, FOUR, { patienceMs: 500 })).rejects.toThrow(
    /open since before the copy was made.*process \d+ \(a long report, idle in transaction\)/,
  );
  // It finds every row, since it finds the table of before.
  expect((await reader.query('select count(*)::int4 as rows from lora_adapters')).rows).toEqual([{ rows: 18 }]);
  await reader.query('commit');
  expect(await into(db.tables, FOUR)).toMatchObject({ rows: 18 });
});

test('whoever waits for the swap goes on in the new table: prepared loads and saves, and a transaction with an old plan', async () => {
  const db = await place();
  const sessions: pg.Client[] = [await db.session(), await db.session(), await db.session()];
  const [reader, writer, blocker] = sessions as [pg.Client, pg.Client, pg.Client];
  const read = {
    name: 'read',
    text: 'select count(*)::int4 as rows from lora_adapters where user_id = $1',
    values: [user(2)],
  };
  const write = {
    name: 'write',
    text: `insert into lora_adapters (user_id, version, weights, size_bytes) values ($1, 6, '\\x06', 1)`,
    values: [user(2)],
  };
  await reader.query(read);
  await writer.query({ ...write, values: [user(3)] });
  let waiting: Promise<unknown>[] = [];
  const tables = meeting(db.tables, {
    at: /lock table .*, .* in access exclusive mode/,
    async after() {
      waiting = [
        writer.query(write),
        blocker.query(`begin isolation level repeatable read; select count(*) from lora_adapters`),
      ];
      await waitFor(async () => (await db.sql(`select from pg_locks where not granted`)).length === 2, {
        what: 'two who wait',
      });
    },
  });
  await into(tables, FOUR);
  await Promise.all(waiting);
  expect((await reader.query(read)).rows).toEqual([{ rows: 4 }]);
  expect((await blocker.query('select count(*)::int4 as rows from lora_adapters')).rows).toEqual([{ rows: 19 }]);
  expect(await headsAreTrue(db)).toEqual([]);
});

test('a table that is never free is said to be so, by whom, and stays as it was', async () => {
  const db = await place();
  const holder = await db.session();
  await holder.query(`set application_name = 'a long load'`);
  const tables = meeting(db.tables, {
    at: ANALYZE,
    before: () => holder.query('begin; select from lora_adapters limit 1'),
  });
  await expect(into(tables, FOUR, { patienceMs: 300 })).rejects.toThrow(
    /not free .*process \d+ \(a long load, idle in transaction\)/,
  );
  // Nobody queues behind the swap while it is not asking.
  await db.sql('select from lora_adapters limit 1');
  await holder.query('commit');
  expect(await into(db.tables, FOUR)).toMatchObject({ rows: 18 });
});

test.each([
  ['the mirror', /^lock table public\.lora_adapters in share update/],
  ['the swap', /^lock table public\.lora_adapters, public\.lora_adapters_next in share update/],
])('%s waits for a vacuum, until autovacuum gives way, with a lock that loads and saves pass', async (_, at) => {
  const db = await place();
  const vacuum = await db.session();
  let ended: Promise<unknown> = Promise.resolve();
  const timeouts: unknown[] = [];
  const ask = async (session: Session) =>
    timeouts.push(...(await session.rows(once(`select current_setting('lock_timeout')`), [])));
  const tables = meeting(
    db.tables,
    {
      at,
      async before(session) {
        await ask(session);
        // The lock that a vacuum holds.
        await vacuum.query('begin; lock table lora_adapters in share update exclusive mode');
        ended = someoneWaits(db).then(async () => {
          await db.sql(ADDED);
          await db.sql('select from lora_adapters');
          await vacuum.query('commit');
        });
      },
    },
    { at: at.source.includes('next') ? /access exclusive mode$/ : /contype = 'f'/, before: ask },
  );
  expect(await into(tables, FOUR)).toMatchObject({ changed: true });
  await ended;
  expect(await db.sql('show deadlock_timeout')).toEqual([{ deadlock_timeout: '1s' }]);
  expect(timeouts).toEqual([['2s'], ['200ms']]);
  expect(await rowsOf(db)).toHaveLength(19);
});

/** Holds what a vacuum of `table` does, until somebody waits for it with a lock that loads and saves pass. */
async function vacuuming(db: Place, table: string): Promise<{ over: Promise<unknown> }> {
  const vacuum = await db.session();
  await vacuum.query(`begin; lock table ${table} in share update exclusive mode`);
  const patient = () =>
    db.sql(
      `select from pg_locks where not granted and mode = 'ShareUpdateExclusiveLock' and relation = '${table}'::regclass`,
    );
  return { over: waitFor(async () => (await patient()).length > 0).then(() => vacuum.query('commit')) };
}

/** No patience: what is not granted at the first attempt is given up. */
const AT_ONCE = { patienceMs: 0 };

test.each([
  ['what is settled', 'lora_adapters', 'lora_adapters', /select count\(\*\) from .*doubts/],
  ['the drop of a table', 'lora_adapters_replaced', 'lora_adapters', /to_regclass\('.*_replaced'\) is not null/],
  [
    'the drop of a partition',
    'lora_adapters_replaced_p3',
    'lora_adapters_h4_2',
    /to_regclass\('.*_replaced'\) is not null/,
  ],
])('%s waits for a vacuum, too', async (_, table, before, at) => {
  const db = await place();
  const [from, target] = before === 'lora_adapters' ? [PLAIN, FOUR] : [FOUR, PLAIN];
  await into(db.tables, from);
  const stranger = await db.session();
  let vacuum: { over: Promise<unknown> } | undefined;
  const tables = meeting(
    db.tables,
    { at: COPY, before: () => stranger.query('begin isolation level repeatable read; select from users limit 1') },
    { at: /pg_blocking_pids\(\$1/, before: () => stranger.query(`${REWRITTEN}; commit`) },
    {
      at,
      async before() {
        vacuum = await vacuuming(db, table);
      },
    },
  );
  expect(await into(tables, target, AT_ONCE)).toMatchObject({ changed: true });
  await vacuum?.over;
  expect(await version2(db)).toEqual([{ weights: '07' }]);
});

test.each(['lora_adapters', 'lora_adapters_next', 'lora_adapters_h4_2'])(
  'a rebuild that is given up waits for a vacuum of %s',
  async (table) => {
    const db = await place();
    const killed = meeting(db.tables, { at: COMPARE, before: () => Promise.reject(new Error('killed')) });
    await expect(into(killed, FOUR)).rejects.toThrow('killed');
    const vacuum = await vacuuming(db, table);
    expect(await cancelRebuild(db.tables, { signal: new AbortController().signal, ...AT_ONCE })).toBe(true);
    await vacuum.over;
  },
);

test('triggers that are put back on a partition wait for a vacuum of it', async () => {
  const db = await place();
  await into(db.tables, FOUR);
  await db.sql('drop trigger lora_adapters_settle_update on lora_adapters_h4_2');
  const vacuum = await vacuuming(db, 'lora_adapters_h4_2');
  expect(await into(db.tables, FOUR, AT_ONCE)).toMatchObject({ mended: 1 });
  await vacuum.over;
});

test('a replaced table that is never free is named, with whoever holds it', async () => {
  const db = await place();
  const holder = await db.session();
  await holder.query(`set application_name = 'a long report'`);
  const tables = meeting(db.tables, {
    at: /to_regclass\('.*_replaced'\) is not null/,
    before: () => holder.query('begin; lock table lora_adapters_replaced in access share mode'),
  });
  await expect(into(tables, FOUR, AT_ONCE)).rejects.toThrow(
    /^lora_adapters_replaced was not free .*process \d+ \(a long report, idle in transaction\) holds lora_adapters_replaced\./,
  );
  await holder.query('commit');
  expect(await into(db.tables, FOUR)).toMatchObject({ changed: false });
});

test('nothing is compiled under the locks of the mirror and the swap', async () => {
  const db = await place();
  const compiling = await Tables.open({ connectionString: db.url, options: '-c jit=on' }, 20_000);
  const asked: unknown[] = [];
  const ask = async (session: Session) =>
    asked.push(...(await session.rows(once(`select current_setting('jit')`), [])));
  const [mirror, swap] = [/^do \$run\$/, /pg_get_triggerdef/];
  try {
    await into(meeting(compiling, { at: mirror, before: ask }, { at: swap, before: ask }), FOUR);
  } finally {
    await compiling.close();
  }
  expect(asked).toEqual([['off'], ['off']]);
});

test('a VACUUM that goes on for too long is called one', async () => {
  const db = await place();
  const [reader, vacuum] = [await db.session(), await db.session()];
  let ended: Promise<unknown> = Promise.resolve();
  const tables = meeting(db.tables, {
    at: ANALYZE,
    async before() {
      // A cursor that stands on a page, which the vacuum has to have for itself.
      await reader.query('begin; declare standing cursor for select from lora_adapters; fetch from standing');
      ended = vacuum.query('vacuum (freeze) lora_adapters');
      await waitFor(
        async () => (await db.sql(`select from pg_stat_activity where wait_event = 'BufferPin'`)).length > 0,
        {
          what: 'a vacuum that waits for a page',
        },
      );
    },
  });
  await expect(into(tables, FOUR, { patienceMs: 0 })).rejects.toThrow(/not free .*process \d+ \(a VACUUM\)/);
  await reader.query('commit');
  await ended;
  expect(await into(db.tables, FOUR)).toMatchObject({ rows: 18 });
});

test.each([
  [PLAIN, FOUR],
  [FOUR, PLAIN],
])(
  'a user is deleted between the swap and the drop, by a foreign key that does not cascade: from %j',
  async (from, target) => {
    const db = await place();
    await db.sql(
      `alter table lora_adapters drop constraint lora_adapters_user_id_fkey, add foreign key (user_id) references users`,
    );
    await into(db.tables, from);
    const service = `delete from lora_adapters where user_id = '${user(2)}'; delete from users where id = '${user(2)}'`;
    const tables = meeting(db.tables, {
      at: /to_regclass\('.*_replaced'\) is not null/,
      before: () => db.sql(service),
    });
    await into(tables, target);
    expect(await rowsOf(db)).toHaveLength(15);
    expect(await headsAreTrue(db)).toEqual([]);
  },
);

test('one id of two users, which no plain table can have, is named', async () => {
  const db = await place();
  await into(db.tables, FOUR);
  const [one] = await db.sql<{ id: string }>(
    `select id from lora_adapters where user_id = '${user(1)}' and version = 1`,
  );
  await db.sql(`update lora_adapters set id = $1 where user_id = '${user(2)}' and version = 1`, [one?.id]);
  await expect(into(db.tables, PLAIN)).rejects.toThrow(
    new RegExp(`two rows of lora_adapters have one id.*${one?.id}.*--cancel`),
  );
  expect(await rowsOf(db)).toHaveLength(18);
});

test('adapters whose user is gone, which no new table can have, are named', async () => {
  const db = await place();
  await db.sql(
    `set session_replication_role = replica; delete from users where id = '${user(3)}'; reset session_replication_role`,
  );
  await expect(into(db.tables, FOUR)).rejects.toThrow(
    new RegExp(`refers to what is not there, .*lora_adapters_user_id_fkey.*${user(3)}.*Delete the row.*--cancel`),
  );
  await db.sql(`delete from lora_adapters where user_id = '${user(3)}'`);
  expect(await into(db.tables, FOUR)).toMatchObject({ rows: 15 });
});

/** Keeps the new table from being analyzed, as its being large does. */
async function holdNext(db: Place): Promise<pg.Client> {
  const holder = await db.session();
  await holder.query('begin; lock table lora_adapters_next in share update exclusive mode');
  return holder;
}

test('the new table is analyzed for as long as that takes, or until it is given up', async () => {
  const db = await place();
  const brief = await Tables.open(db.url, 3000);
  const giveUp = new AbortController();
  try {
    let holder: pg.Client | undefined;
    const given = meeting(brief, {
      at: ANALYZE,
      async before() {
        holder = await holdNext(db);
        someoneWaits(db).then(() => giveUp.abort(new Error('given up')));
      },
    });
    await expect(into(given, FOUR, { signal: giveUp.signal })).rejects.toThrow('given up');
    await holder?.query('commit');

    let waited: unknown[] = [];
    const tables = meeting(brief, {
      at: ANALYZE,
      async before() {
        holder = await holdNext(db);
        waitFor(async () => {
          waited = await db.sql(
            `select from pg_stat_activity where datname = current_database() and query ~ '^analyze'
               and wait_event_type = 'Lock' and query_start < now() - interval '3.1 s'`,
          );
          return waited.length > 0;
        }).then(() => holder?.query('commit'));
      },
    });
    expect(await into(tables, FOUR)).toMatchObject({ changed: true });
    expect(waited).toHaveLength(1);
  } finally {
    await brief.close();
  }
});

test('a saver who has the user and not yet the bodies is not kept from them while the swap waits for him', async () => {
  const db = await place();
  await db.sql(
    `alter table lora_adapters drop constraint lora_adapters_user_id_fkey, add foreign key (user_id) references users`,
  );
  const saver = await db.session();
  await saver.query(`set lock_timeout = '100ms'`);
  const save = async () => {
    await waitFor(
      async () => (await db.sql(`select from pg_locks where relation = 'users'::regclass and not granted`))[0],
    );
    await saver.query(
      `insert into lora_adapters (user_id, version, weights, size_bytes) values ('${user(1)}', 4, '', 0)`,
    );
    await saver.query('commit');
  };
  let saved: Promise<void> | undefined;
  const tables = meeting(db.tables, {
    at: /lora_adapters_next in share update exclusive mode/,
    before: async () => {
      await saver.query(`begin; select from users where id = '${user(1)}' for key share`);
      saved = save();
    },
  });
  await into(tables, FOUR);
  await saved;
  expect(await rowsOf(db)).toHaveLength(19);
  expect(await headsAreTrue(db)).toEqual([]);
});
