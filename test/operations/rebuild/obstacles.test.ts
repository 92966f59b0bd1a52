/** What a rebuild would lose is refused by name before anything is made, and again in the swap, where it came meanwhile. */
import { beforeEach, expect, test } from 'vitest';
import { obstacles } from '../../../src/operations/rebuild/obstacles.js';
import { Tables } from '../../../src/operations/tables.js';
import type { Session, Statement } from '../../../src/postgres/database.js';
import { dumpSchema } from '../../postgres/support/dump.js';
import { withClient } from '../../support/template.js';
import { FOUR, into, meeting, PLAIN, type Place, usePlaces } from './support.js';

const place = usePlaces();
let db: Place;

beforeEach(async () => {
  db = await place();
});

const OBSTACLES: readonly [thing: string, make: string, told: RegExp][] = [
  ['a view', 'create view mine as select id from lora_adapters', /rule _RETURN on view mine/],
  [
    'a foreign key',
    'create table mine (id uuid references lora_adapters (id))',
    /constraint mine_id_fkey on table mine/,
  ],
  ['a rule', 'create rule mine as on delete to lora_adapters do also nothing', /rule mine on table lora_adapters/],
  ['a policy', 'create policy mine on lora_adapters', /policy mine on table lora_adapters/],
  ['row level security', 'alter table lora_adapters enable row level security', /its row level security/],
  ['a publication', 'create publication mine for table lora_adapters', /publication .*lora_adapters.* mine/],
  ['a publication of all tables', 'create publication mine for all tables', /publication mine, which publishes it/],
  [
    'a publication of its schema',
    `do $$ begin
       if current_setting('server_version_num')::int >= 150000 then create publication mine for tables in schema public;
       else create publication mine for all tables; end if;
     end $$`,
    /publication mine, which publishes it/,
  ],
  ['an heir', 'create table mine () inherits (lora_adapters)', /its place in an inheritance/],
  [
    'a trigger',
    `create function mine() returns trigger language plpgsql as 'begin return null; end';
     create trigger mine after insert on lora_adapters for each row execute function mine()`,
    /trigger mine on table lora_adapters/,
  ],
  ['an index', 'create index mine on lora_adapters (size_bytes)', /index mine/],
  ['a partial index', 'create unique index mine on lora_adapters (id) where version > 1', /index mine/],
  ['an index of another kind', 'create index mine on lora_adapters using hash (id)', /index mine/],
  [
    'another uniqueness',
    `update lora_adapters set updated_at = now() + version * interval '1 s';
     alter table lora_adapters add constraint mine unique (user_id, updated_at)`,
    /index mine/,
  ],
  [
    'a uniqueness that may wait for the commit',
    'alter table lora_adapters add constraint mine unique (user_id, adapter_name, version) deferrable',
    /index mine/,
  ],
  [
    'an index by other operators',
    'create index mine on lora_adapters (user_id, adapter_name varchar_pattern_ops, version)',
    /index mine/,
  ],
  [
    'an index in another order of letters',
    'create index mine on lora_adapters (user_id, adapter_name collate "POSIX", version)',
    /index mine/,
  ],
  [
    'the settings of an index',
    'create index mine on lora_adapters (created_at) with (fillfactor = 50)',
    /the settings of index mine/,
  ],
  [
    'the index that it is clustered by',
    'alter table lora_adapters cluster on lora_adapters_pkey',
    /that it is clustered by index lora_adapters_pkey/,
  ],
  [
    'a check that is not inherited',
    'alter table lora_adapters add constraint mine check (size_bytes >= 0) no inherit',
    /constraint mine on table lora_adapters, which partitions cannot have/,
  ],
  [
    'a foreign key to itself',
    `alter table lora_adapters add column base uuid,
       add constraint mine foreign key (user_id, adapter_name, version) references lora_adapters (user_id, adapter_name, version)`,
    /constraint mine on table lora_adapters/,
  ],
  ['statistics', 'create statistics mine on user_id, version from lora_adapters', /statistics object mine/],
  [
    'a statistics target',
    'alter table lora_adapters alter user_id set statistics 500',
    /the settings of column user_id/,
  ],
  ['a sequence', 'alter table lora_adapters add column mine serial', /sequence lora_adapters_mine_seq/],
  [
    'an identity',
    'alter table lora_adapters add column mine int generated always as identity',
    /the settings of column mine/,
  ],
  ['a type', 'create table mine (rows lora_adapters[])', /column rows of table mine/],
  [
    'a function',
    `create function mine(lora_adapters) returns int language sql as 'select 1'`,
    /function mine\(lora_adapters\)/,
  ],
  [
    'a comment',
    `comment on index idx_lora_adapters_created is 'mine'`,
    /the comment on index idx_lora_adapters_created/,
  ],
  ['a replica identity', 'alter table lora_adapters replica identity full', /its replica identity/],
  ['that it is unlogged', 'alter table lora_adapters set unlogged', /that it is unlogged/],
  ['an exclusion', 'alter table lora_adapters add exclude (id with =)', /constraint lora_adapters_id_excl/],
  ['no key on id', 'alter table lora_adapters drop constraint lora_adapters_pkey', /uniqueness of id/],
  [
    'a foreign key that is not validated',
    `alter table lora_adapters drop constraint lora_adapters_user_id_fkey,
       add foreign key (user_id) references users not valid`,
    /lora_adapters_user_id_fkey .*, which is not validated/,
  ],
];

/** What Postgres itself refuses of a partitioned table, or what it would be something else of. */
const ONLY_PLAIN = new Set([
  'an heir',
  'that it is unlogged',
  'an exclusion',
  'no key on id',
  'a foreign key',
  'an identity',
  'a foreign key that is not validated',
  'row level security',
  'a partial index',
  'the index that it is clustered by',
  'a check that is not inherited',
]);

/** Asked in the transaction that makes it, which is undone. */
async function toldOf(make: string): Promise<string[]> {
  const client = await db.session();
  await client.query('begin');
  await client.query(make);
  const asking = {
    rows: async ({ text }: Statement) => (await client.query({ text, rowMode: 'array' })).rows,
  } as unknown as Session;
  const told = await obstacles(asking);
  await client.query('rollback');
  return told;
}

test.each([
  ['a plain table', PLAIN],
  ['a partitioned one', FOUR],
])('each of them, of %s', async (_, shape) => {
  await into(db.tables, shape);
  expect(await obstacles(db.tables)).toEqual([]);
  for (const [thing, make, told] of OBSTACLES) {
    if (shape === FOUR && ONLY_PLAIN.has(thing)) continue;
    expect(await toldOf(make), thing).toEqual([expect.stringMatching(told)]);
  }
});

const OF_A_PARTITION: readonly [make: string, told: string][] = [
  ['create index mine on PARTITION (size_bytes)', 'index mine'],
  ['create unique index mine on PARTITION (id)', 'index mine'],
  ['create view mine as select id from PARTITION', 'rule _RETURN on view mine'],
  ['alter table PARTITION add constraint mine check (size_bytes >= 0)', 'constraint mine on table PARTITION'],
  [
    'alter table PARTITION add constraint mine foreign key (id) references users not valid',
    'constraint mine on table PARTITION',
  ],
  [`comment on table PARTITION is 'mine'`, 'the comment on table PARTITION'],
  [`comment on column PARTITION.id is 'mine'`, 'the comment on column id of table PARTITION'],
  ['grant select on PARTITION to public', 'the rights on table PARTITION'],
  ['grant update (updated_at) on PARTITION to public', 'the rights on table PARTITION'],
  ['revoke truncate on PARTITION from current_user', 'the rights on table PARTITION'],
  ['alter table PARTITION owner to pg_monitor', 'the owner of table PARTITION'],
  [
    'alter table PARTITION set (fillfactor = 90)',
    'the settings or the tablespace of table PARTITION, which are not those of table lora_adapters_h4_0',
  ],
  [
    'alter table PARTITION set (toast.autovacuum_enabled = off)',
    'the settings or the tablespace of table PARTITION, which are not those of table lora_adapters_h4_0',
  ],
  ['alter table PARTITION alter weights set storage main', 'the settings of column weights of table PARTITION'],
  ['alter table PARTITION alter checksum set default 7', 'the settings of column checksum of table PARTITION'],
  ['alter table PARTITION alter checksum set not null', 'the settings of column checksum of table PARTITION'],
  ['alter index PARTITION_pkey set (fillfactor = 50)', 'the settings of index PARTITION_pkey'],
  ['alter table PARTITION cluster on PARTITION_pkey', 'that it is clustered by index PARTITION_pkey'],
  ['alter table PARTITION set unlogged', 'that it is unlogged or temporary, of table PARTITION'],
  ['alter table PARTITION enable row level security', 'its row level security, of table PARTITION'],
  ['alter table PARTITION replica identity full', 'its replica identity, of table PARTITION'],
];

test('what a partition has alone', async () => {
  await into(db.tables, FOUR);
  await db.sql('delete from lora_adapters');
  const named = (text: string) => text.replaceAll('PARTITION', 'lora_adapters_h4_2');
  for (const [make, told] of OF_A_PARTITION) {
    const expected = make.includes('checksum set not null') ? expect.arrayContaining([named(told)]) : [named(told)];
    expect(await toldOf(named(make)), make).toEqual(expected);
  }
});

/** Made in a transaction that is undone. */
const NOBODY = `lora_nobody_${process.pid}`;

/** From the server to itself, wherever it runs. */
async function connectionTo(publisher: Place): Promise<string> {
  const [{ host, port } = { host: '', port: '' }] = await publisher.sql<{ host: string; port: string }>(
    `select coalesce(host(inet_server_addr()), split_part(current_setting('unix_socket_directories'), ',', 1)) as host,
       current_setting('port') as port`,
  );
  const { username, password, pathname } = new URL(publisher.url);
  const secret = password === '' ? '' : ` password=${decodeURIComponent(password)}`;
  return `host=${host} port=${port} user=${username}${secret} dbname=${pathname.slice(1)}`;
}

test.each([
  ['a plain table', PLAIN],
  ['a partitioned one', FOUR],
])('a subscription that writes to %s, asked by a role without rights', async (_, shape) => {
  await into(db.tables, shape);
  const publisher = await place();
  await publisher.sql('create publication theirs for table lora_adapters');
  const told = await toldOf(
    `create subscription mine connection '${await connectionTo(publisher)}' publication theirs
       with (enabled = false, create_slot = false, slot_name = none, copy_data = false);
     create role ${NOBODY}; set local role ${NOBODY}`,
  );
  expect(told).toEqual(['subscription mine, which writes to it']);
});

test('it is refused before anything is made', async () => {
  await db.sql('create view mine as select id from lora_adapters');
  const before = await withClient(db.url, dumpSchema);
  await expect(into(db.tables, FOUR)).rejects.toThrow(
    /would be without: rule _RETURN on view mine\. Take that away first/,
  );
  expect(await withClient(db.url, dumpSchema)).toBe(before);
  expect(
    await db.sql(
      `select to_regclass('lora_adapters_next') is null as none, to_regclass('lora_store_rebuild') is null as told`,
    ),
  ).toEqual([{ none: true, told: true }]);
});

test.each([
  ['a view', 'create view mine as select id from lora_adapters', 'drop view mine', /view mine/],
  [
    'a column',
    'alter table lora_adapters add column mine int',
    'alter table lora_adapters drop column mine',
    /was altered since/,
  ],
  [
    'a default',
    'alter table lora_adapters alter size_bytes set default 1',
    'alter table lora_adapters alter size_bytes drop default',
    /was altered since/,
  ],
  [
    'an owner',
    'alter table lora_adapters owner to pg_monitor',
    'alter table lora_adapters owner to current_user',
    /was altered since/,
  ],
  [
    'a setting',
    'alter table lora_adapters set (fillfactor = 90)',
    'alter table lora_adapters reset (fillfactor)',
    /was altered since/,
  ],
  [
    'a setting of the TOAST table',
    'alter table lora_adapters set (toast.autovacuum_enabled = off)',
    'alter table lora_adapters reset (toast.autovacuum_enabled)',
    /was altered since/,
  ],
  [
    'a comment',
    `comment on table lora_adapters is 'mine'`,
    `comment on table lora_adapters is 'lora-store: created by migration 002'`,
    /was altered since/,
  ],
  [
    'a comment of a column',
    `comment on column lora_adapters.size_bytes is 'mine'`,
    'comment on column lora_adapters.size_bytes is null',
    /was altered since/,
  ],
  [
    'a comment of a check',
    `comment on constraint theirs on lora_adapters is 'mine'`,
    'comment on constraint theirs on lora_adapters is null',
    /was altered since/,
  ],
  [
    'a compression, where columns have one',
    `do $$ begin
       if current_setting('server_version_num')::int >= 140000 then alter table lora_adapters alter weights set compression pglz;
       else alter table lora_adapters alter weights set storage main; end if;
     end $$`,
    `do $$ begin
       if current_setting('server_version_num')::int >= 140000 then alter table lora_adapters alter weights set compression default;
       else alter table lora_adapters alter weights set storage external; end if;
     end $$`,
    /was altered since/,
  ],
])('%s that comes during the copy is seen in the swap, which is not made', async (_, make, unmake, told) => {
  await db.sql('alter table lora_adapters add constraint theirs check (size_bytes >= 0)');
  const tables = meeting(db.tables, { at: /^analyze/, before: () => db.sql(make) });
  await expect(into(tables, FOUR)).rejects.toThrow(told);
  expect(await db.sql(`select relkind::text from pg_class where oid = 'lora_adapters'::regclass`)).toEqual([
    { relkind: 'r' },
  ]);
  await db.sql(unmake);
  expect(await into(db.tables, FOUR)).toMatchObject({ rows: 18 });
});

test('whoever does not own the table is told who does', async () => {
  const role = `lora_other_${process.pid}`;
  await db.sql(`create role ${role} superuser; set role ${role}; reset role`);
  const tables = Tables.openUnchecked({ connectionString: db.url, options: `-c role=${role}` }, 20_000);
  try {
    await expect(into(tables, FOUR)).rejects.toThrow(new RegExp(`belongs to \\w+, and this is ${role}: connect as`));
  } finally {
    await tables.close();
    await db.sql(`drop role ${role}`);
  }
});

test('tables of somebody else under the names that it takes are not dropped', async () => {
  await db.sql('create table lora_adapters_next (mine int)');
  await expect(into(db.tables, FOUR)).rejects.toThrow(
    'there is a table lora_adapters_next, whose name a rebuild needs',
  );
  expect(await db.sql('select * from lora_adapters_next')).toEqual([]);
});

test.each([
  ['create table mine (n int); create index idx_lora_adapters_id on mine (n)', 'an index idx_lora_adapters_id'],
  ['create table mine (n int); create index lora_adapters_next_key on mine (n)', 'an index lora_adapters_next_key'],
  ['create table lora_adapters_h4_1 (n int)', 'a table lora_adapters_h4_1'],
  ['create table lora_adapters_replaced_i2 (n int)', 'a table lora_adapters_replaced_i2'],
])('names that it takes later are asked for at the beginning: %s', async (make, told) => {
  await db.sql(make);
  const before = await withClient(db.url, dumpSchema);
  await expect(into(db.tables, FOUR)).rejects.toThrow(`there is ${told}, whose name a rebuild needs`);
  expect(await db.sql(`select to_regclass('lora_store_rebuild') is null as none`)).toEqual([{ none: true }]);
  expect(await withClient(db.url, dumpSchema)).toBe(before);
});

test('a name that was taken while nobody was at it is told before the comparison', async () => {
  const killed = meeting(db.tables, { at: /full join/, before: () => Promise.reject(new Error('killed')) });
  await expect(into(killed, FOUR)).rejects.toThrow('killed');
  await db.sql('create table mine (n int); create index idx_lora_adapters_id on mine (n)');
  await expect(into(db.tables, FOUR)).rejects.toThrow('there is an index idx_lora_adapters_id, whose name');
  await db.sql('drop table mine');
  expect(await into(db.tables, FOUR)).toMatchObject({ rows: 18 });
});

test('partitions that somebody made in another way are left alone', async () => {
  await db.sql(`alter table lora_adapters rename to mine;
    create table lora_adapters (like mine including defaults) partition by list (adapter_name)`);
  await expect(into(db.tables, PLAIN)).rejects.toThrow(/neither a plain table nor hash partitions by user_id/);
});
