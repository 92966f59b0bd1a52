/** What lora_adapters is after a rebuild, and after the way back: nothing of it is lost, and the schema is the one it was. */
import pg from 'pg';
import { expect, test } from 'vitest';
import { obstacles } from '../../../src/operations/rebuild/obstacles.js';
import { cancelRebuild } from '../../../src/operations/rebuild/rebuild.js';
import { Tables } from '../../../src/operations/tables.js';
import { migrate } from '../../../src/postgres/migrate.js';
import { checkSchema } from '../../../src/postgres/schema.js';
import { user } from '../../cli/archives.js';
import { dumpSchema } from '../../postgres/support/dump.js';
import { applyFiles } from '../../postgres/support/migration-files.js';
import { startPostgres } from '../../support/postgres.js';
import { withClient } from '../../support/template.js';
import { FOUR, headsAreTrue, into, meeting, PLAIN, rowsOf, usePlaces } from './support.js';

const place = usePlaces();

const schemaOf = (url: string) => withClient(url, dumpSchema);

test('there, into other partitions, and back: the same rows each time, and in the end the same schema', async () => {
  const db = await place();
  const [before, rows] = [await schemaOf(db.url), await rowsOf(db)];
  const heads = await db.sql('select * from lora_adapter_heads order by 1, 2');
  for (const target of [FOUR, { partitions: 3 }, PLAIN]) {
    expect(await into(db.tables, target)).toMatchObject({ rows: 18, mended: 0 });
    expect(await rowsOf(db)).toEqual(rows);
    // Nothing was written: no cached copy is the older for it.
    expect(await db.sql('select * from lora_adapter_heads order by 1, 2')).toEqual(heads);
    const [{ leaves }] = (await db.sql(
      `select count(*)::int4 as leaves from pg_inherits where inhparent = 'lora_adapters'::regclass`,
    )) as [{ leaves: number }];
    expect(leaves).toBe(target.partitions);
    expect(await db.sql(`select relname from pg_class where relname ~ '_next|_replaced|lora_store_rebuild'`)).toEqual(
      [],
    );
    expect(await into(db.tables, target)).toMatchObject({ rows: 0, mended: 0 });
  }
  expect(await schemaOf(db.url)).toBe(before);
});

test('every unique constraint of the partitioned table holds user_id, and the names are those of the plain one', async () => {
  const db = await place();
  await into(db.tables, FOUR);
  expect(
    await db.sql(
      `select conname, pg_get_constraintdef(oid) as definition from pg_constraint
     where conrelid = 'lora_adapters'::regclass and contype in ('p', 'u', 'f') order by 1`,
    ),
  ).toEqual([
    { conname: 'lora_adapters_pkey', definition: 'PRIMARY KEY (user_id, id)' },
    {
      conname: 'lora_adapters_user_id_adapter_name_version_key',
      definition: 'UNIQUE (user_id, adapter_name, version)',
    },
    {
      conname: 'lora_adapters_user_id_fkey',
      definition: 'FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE',
    },
  ]);
  expect(
    await db.sql(
      `select relname, indisvalid from pg_index join pg_class on oid = indexrelid
     where indrelid = 'lora_adapters'::regclass order by 1`,
    ),
  ).toEqual(
    [
      'idx_lora_adapters_created',
      'idx_lora_adapters_id',
      'idx_lora_adapters_user_name_version',
      'idx_lora_adapters_user_updated',
      'lora_adapters_pkey',
      'lora_adapters_user_id_adapter_name_version_key',
    ].map((relname) => ({ relname, indisvalid: true })),
  );
});

/** Roles belong to the whole server. */
const ROLE = `lora_rebuild_${process.pid}`;

/** What an owner may have made of the table. */
const OWNERS = `
  alter table lora_adapters add column region text not null default 'eu' check (region <> ''),
    add column kilobytes bigint generated always as (size_bytes / 1000) stored;
  alter table lora_adapters drop column region; -- leaves a hole in the numbers of the columns
  alter table lora_adapters add column place text default 'here' constraint somewhere check (place <> '');
  alter table lora_adapters set (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, toast.autovacuum_vacuum_threshold = 10000);
  comment on column lora_adapters.place is 'where it is';
  alter table lora_adapters enable always trigger lora_adapters_settle_delete;
  do $$ begin if not exists (select from pg_roles where rolname = '${ROLE}') then create role ${ROLE}; end if; end $$;
  grant select, insert on lora_adapters to ${ROLE} with grant option;
  grant update (updated_at) on lora_adapters to ${ROLE};
  revoke truncate on lora_adapters from current_user;
  alter default privileges grant delete on tables to ${ROLE};
  alter default privileges revoke references on tables from current_user`;

const FACTS = {
  columns: `select attname, format_type(atttypid, atttypmod), attnotnull, attstorage, attgenerated,
      col_description(attrelid, attnum), pg_get_expr(adbin, adrelid)
    from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
    where attrelid = 'lora_adapters'::regclass and attnum > 0 and not attisdropped order by attnum`,
  rights: `select obj_description(oid, 'pg_class'), pg_get_userbyid(relowner),
      array(select a::text from unnest(relacl) a order by 1) as acl from pg_class where oid = 'lora_adapters'::regclass`,
  columnRights: `select attname, attacl::text from pg_attribute where attrelid = 'lora_adapters'::regclass and attacl is not null`,
  checks: `select conname, pg_get_constraintdef(oid) from pg_constraint where conrelid = 'lora_adapters'::regclass and contype = 'c'`,
  triggers: `select tgname, tgenabled from pg_trigger where tgrelid = 'lora_adapters'::regclass and not tgisinternal order by 1`,
};

test('columns, defaults, checks, comments, settings, rights and disabled or forced triggers of the owner are carried over', async () => {
  const db = await place();
  await db.sql(OWNERS);
  const facts = async () =>
    Object.fromEntries(
      await Promise.all(Object.entries(FACTS).map(async ([name, text]) => [name, await db.sql(text)])),
    );
  const leaves = () =>
    db.sql(`
      select distinct array(select unnest(c.reloptions) order by 1) as own, array(select unnest(t.reloptions) order by 1) as toast, a.attstorage
      from pg_class c left join pg_class t on t.oid = c.reltoastrelid
      join pg_attribute a on a.attrelid = c.oid and a.attname = 'weights'
      where c.oid in (select coalesce(i.inhrelid, p.oid) from pg_class p left join pg_inherits i on i.inhparent = p.oid
                      where p.oid = 'lora_adapters'::regclass)`);
  const [before, leavesBefore, rows] = [await facts(), await leaves(), await rowsOf(db)];
  try {
    for (const target of [FOUR, PLAIN]) {
      await into(db.tables, target);
      expect(await facts()).toEqual(before);
      expect(await leaves()).toEqual(leavesBefore);
      expect(await rowsOf(db)).toEqual(rows);
      expect(await obstacles(db.tables)).toEqual([]);
      // What default privileges give on a new table, nobody has on this one.
      expect(
        await db.sql(`select relname from pg_class where relname ~ '^lora_adapters' and relkind in ('r', 'p')
        and has_table_privilege('${ROLE}', oid, 'delete')`),
      ).toEqual([]);
    }
  } finally {
    await db.sql(`drop owned by ${ROLE}; drop role ${ROLE}`);
  }
});

/** Of each foreign key of lora_adapters one more for every partition of users, which is not its owner's. */
const PARTITIONED_USERS = `
  create table users (id uuid primary key) partition by hash (id);
  create table users_0 partition of users for values with (modulus 2, remainder 0);
  create table users_1 partition of users for values with (modulus 2, remainder 1)`;

test.each(['on delete cascade', ''])(
  'users that are partitioned: there and back, and given up, with a foreign key that is %j',
  async (action) => {
    const db = await place(PARTITIONED_USERS);
    await db.sql(
      `alter table lora_adapters drop constraint lora_adapters_user_id_fkey, add foreign key (user_id) references users ${action}`,
    );
    const keys = () =>
      db.sql(`select conname, confrelid::regclass::text, conparentid = 0 as own from pg_constraint
        where conrelid = 'lora_adapters'::regclass and contype = 'f' order by 2`);
    const before = await keys();
    expect(before).toHaveLength(3);
    const save = (version: number) => async () => {
      const added = `insert into lora_adapters (user_id, version, weights, size_bytes) select id, ${version}, '\\x00', 1 from users`;
      expect(await db.sql(`${added} returning 1 as one`)).toHaveLength(6);
    };
    for (const [version, target] of [FOUR, PLAIN].entries()) {
      const tables = meeting(db.tables, { at: /full join/, before: save(10 + version) });
      expect(await into(tables, target)).toMatchObject({ rows: 24 + 6 * version });
      expect((await keys()).map((key) => ({ ...key, conname: '' }))).toEqual(
        before.map((key) => ({ ...key, conname: '' })),
      );
    }
    const killed = meeting(db.tables, { at: /full join/, before: () => Promise.reject(new Error('killed')) });
    await expect(into(killed, FOUR)).rejects.toThrow('killed');
    await save(20)();
    expect(await cancelRebuild(db.tables, { signal: new AbortController().signal, patienceMs: 20_000 })).toBe(true);
    expect(await headsAreTrue(db)).toEqual([]);
  },
);

test('tablespaces: that of the table is carried over, of an index or a partition alone it is in the way', async () => {
  const server = await startPostgres({ allow_in_place_tablespaces: 'on' });
  let tables: Tables | undefined;
  try {
    const sql = (text: string) => withClient(server.url, async (client) => (await client.query(text)).rows);
    await migrate({ postgres: server.url });
    await sql(`create tablespace theirs location ''`);
    await sql('alter table lora_adapters set tablespace theirs');
    tables = await Tables.open(server.url, 20_000);
    const indexes = await sql(
      `select indexrelid::regclass::text as name from pg_index where indrelid = 'lora_adapters'::regclass order by 1`,
    );
    expect(await obstacles(tables)).toEqual(indexes.map(({ name }) => `the tablespace of index ${name}`));
    for (const { name } of indexes) await sql(`alter index ${name} set tablespace theirs`);
    for (const target of [FOUR, PLAIN, FOUR]) {
      await into(tables, target);
      expect(
        await sql(`select distinct spcname from pg_class c left join pg_tablespace t on t.oid = reltablespace
          where relname ~ '^(idx_)?lora_adapters' and relname !~ 'heads' and relkind in ('r', 'i')`),
      ).toEqual([{ spcname: 'theirs' }]);
      expect(await obstacles(tables)).toEqual([]);
    }
    await sql('alter table lora_adapters_h4_3 set tablespace pg_default');
    expect(await obstacles(tables)).toContain(
      'the settings or the tablespace of table lora_adapters_h4_3, which are not those of table lora_adapters_h4_0',
    );
  } finally {
    await tables?.close();
    await server.stop();
  }
});

test('a partition whose triggers were dropped or disabled is told by name, with the command that brings them back', async () => {
  const db = await place();
  await into(db.tables, FOUR);
  const check = () => checkSchema(async (text) => (await db.sql(text)).map((row) => Object.values(row as object)));
  await expect(check()).resolves.toBeUndefined();
  await db.sql('drop trigger lora_adapters_settle_update on lora_adapters_h4_2');
  await db.sql('alter table lora_adapters_h4_3 disable trigger lora_adapters_lock_head');
  await expect(check()).rejects.toThrow(
    'trigger lora_adapters_lock_head on partition lora_adapters_h4_3 (and 1 more): run `npx lora-store partition --by hash --count 4`',
  );
  expect(await into(db.tables, FOUR)).toMatchObject({ rows: 0, mended: 2 });
  await expect(check()).resolves.toBeUndefined();
  expect(await headsAreTrue(db)).toEqual([]);
});

test('an owner who owns nothing but the tables makes it, and writers need no right that they had not', async () => {
  const db = await place();
  const [owner, writer] = [`lora_owner_${process.pid}`, `lora_writer_${process.pid}`];
  await db.sql(`create role ${owner}; create role ${writer};
    grant usage, create on schema public to ${owner}; grant usage on schema public to ${writer};
    grant select, references, update (id) on users to ${owner};
    alter table lora_adapters owner to ${owner}; alter table lora_adapter_heads owner to ${owner};
    alter function lora_adapters_lock_head owner to ${owner}; alter function lora_adapters_settle_heads owner to ${owner};
    grant select, insert, delete on lora_adapters to ${writer}`);
  const open = (role: string) => ({ connectionString: db.url, options: `-c role=${role}` });
  const tables = Tables.openUnchecked(open(owner), 20_000);
  const client = new pg.Client(open(writer));
  try {
    await client.connect();
    const write = () =>
      client.query(`insert into lora_adapters (user_id, version, weights, size_bytes) values ('${user(1)}', 8, '\\x00', 1);
        delete from lora_adapters where user_id = '${user(2)}' and version = 3`);
    for (const target of [FOUR, PLAIN]) {
      await into(meeting(tables, { at: /full join/, before: write }), target);
      expect(await headsAreTrue(db)).toEqual([]);
      expect((await client.query('select from lora_adapters')).rowCount).toBe(18);
      await client.query(`delete from lora_adapters where version = 8`);
    }
  } finally {
    await client.end();
    await tables.close();
    await db.sql(`drop owned by ${owner}, ${writer} cascade; drop role ${owner}, ${writer}`);
  }
});

test('the files of the migrations may be run again on a partitioned table, and change nothing', async () => {
  const db = await place();
  await into(db.tables, FOUR);
  const before = await schemaOf(db.url);
  await applyFiles(db.url, 'up');
  expect(await schemaOf(db.url)).toBe(before);
});
