/**
 * A database whose Rust service made its tables before us: completed and never rebuilt, given back as it was found, and
 * refused with the column's name where it is not what we take it for.
 */
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { migrate } from '../../src/postgres/migrate.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { dumpSchema } from './support/dump.js';
import { applyFiles, waysToApply } from './support/migration-files.js';

const ANNA = '00000000-0000-0000-0000-00000000000a';
const BERT = '00000000-0000-0000-0000-00000000000b';

/** What the service's documentation says it applies: no defaults for id and the times, no ON DELETE CASCADE. */
const RUST = `
  create table users (id uuid primary key, email text not null default '');
  create table lora_adapters (
    id UUID PRIMARY KEY,
    user_id UUID NOT NULL REFERENCES users(id),
    adapter_name VARCHAR(100) NOT NULL DEFAULT 'default',
    version INTEGER NOT NULL DEFAULT 1,
    weights BYTEA NOT NULL,
    size_bytes BIGINT NOT NULL,
    training_iterations INTEGER NOT NULL DEFAULT 0,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    UNIQUE (user_id, adapter_name, version)
  );
  create index idx_lora_adapters_user_name_version on lora_adapters(user_id, adapter_name, version desc);
  create index idx_lora_adapters_user_updated on lora_adapters(user_id, updated_at desc);
  create index idx_lora_adapters_created on lora_adapters(created_at desc);`;

const ROWS = `
  insert into users (id, email) values ('${ANNA}', 'anna@example.org'), ('${BERT}', 'bert@example.org');
  insert into lora_adapters (id, user_id, adapter_name, version, weights, size_bytes, created_at, updated_at)
  select gen_random_uuid(), u::uuid, n, v, '\\x0102', 2, now(), now()
  from (values ('${ANNA}', 'default', 1), ('${ANNA}', 'default', 2), ('${ANNA}', 'default', 7), ('${ANNA}', 'b', 1), ('${BERT}', 'default', 3)) as r (u, n, v);`;

let database: TestDatabase;
let client: pg.Client;

beforeEach(async () => {
  database = await createDatabase({ template: 'empty' });
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
});

afterEach(async () => {
  await client?.end();
  await database?.drop();
});

async function heads(): Promise<unknown[]> {
  const { rows } = await client.query(
    'select user_id, adapter_name, last_version, latest_version from lora_adapter_heads order by 1, 2',
  );
  return rows.map((row) => Object.values(row));
}

const byMigrate = async (url: string, direction: 'up' | 'down') =>
  void (await migrate({ postgres: url, direction, count: 9 }));
const ways: [string, (url: string, direction: 'up' | 'down') => Promise<void>][] = [
  ['migrate()', byMigrate],
  ...waysToApply().map(([how, apply]): (typeof ways)[number] => [
    how,
    (url, direction) => applyFiles(url, direction, ['00'], apply),
  ]),
];

describe.each(ways)('by %s, the table of a Rust service', (_how, apply) => {
  test('is adopted with its rows, serves both, and is given back as it was', async () => {
    await client.query(RUST + ROWS);
    const found = await dumpSchema(client);
    const rows = (await client.query('select * from lora_adapters order by id')).rows;

    await apply(database.url, 'up');
    expect(await heads()).toEqual([
      [ANNA, 'b', 1, 1],
      [ANNA, 'default', 7, 7],
      [BERT, 'default', 3, 3],
    ]);
    // The columns a Rust writer leaves out.
    await client.query(
      `insert into lora_adapters (user_id, version, weights, size_bytes) values ('${BERT}', 4, '', 0)`,
    );
    expect(await heads()).toContainEqual([BERT, 'default', 4, 4]);
    await client.query(`delete from lora_adapters where user_id = '${BERT}' and version = 4`);
    // The owner's foreign key is the owner's policy.
    await expect(client.query(`delete from users where id = '${BERT}'`)).rejects.toThrow('violates foreign key');

    // A second run forgets nothing of what the first one added.
    await applyFiles(database.url, 'up');
    await apply(database.url, 'down');
    expect(await dumpSchema(client)).toBe(found);
    expect((await client.query('select * from lora_adapters order by id')).rows).toEqual(rows);
  });

  test('is completed where it lacks constraint and indexes, and loses them again', async () => {
    await client.query(RUST + ROWS);
    await client.query(`
      alter table lora_adapters drop constraint lora_adapters_user_id_adapter_name_version_key,
        drop constraint lora_adapters_user_id_fkey, alter column version drop default;
      drop index idx_lora_adapters_created`);
    const found = await dumpSchema(client);
    await apply(database.url, 'up');
    const adopted = await dumpSchema(client);
    for (const added of [
      'UNIQUE (user_id, adapter_name, version)',
      'idx_lora_adapters_created',
      'version integer not null default 1',
    ]) {
      expect(adopted).toContain(added);
    }
    // What a second run adds joins the list of the first.
    await client.query('drop index idx_lora_adapters_user_updated');
    await applyFiles(database.url, 'up', ['002']);
    await apply(database.url, 'down');
    expect(await dumpSchema(client)).toBe(found.replace(/^.*idx_lora_adapters_user_updated.*\n/m, ''));
  });
});

test('a unique index of the owner over the same columns, in another order, is enough', async () => {
  await client.query(RUST);
  await client.query(`
    alter table lora_adapters drop constraint lora_adapters_user_id_adapter_name_version_key;
    create unique index of_the_owner on lora_adapters (adapter_name, version, user_id)`);
  await migrate({ postgres: database.url });
  expect(await dumpSchema(client)).not.toContain('UNIQUE (user_id, adapter_name, version)');
});

test('users of a service that has them stay when everything of ours goes', async () => {
  await client.query(`create table users (id uuid primary key, email text); insert into users values ('${ANNA}')`);
  await migrate({ postgres: database.url });
  await migrate({ postgres: database.url, direction: 'down', count: 9 });
  expect((await client.query('select id, email from users')).rows).toEqual([{ id: ANNA, email: null }]);
});

describe('is refused and left alone', () => {
  test.each([
    ['alter table lora_adapters drop column weights', 'column weights is missing'],
    ['alter table lora_adapters alter column version type bigint', 'column version is bigint, not integer'],
    [
      'alter table lora_adapters alter column adapter_name type text, alter column created_at type timestamp',
      'column adapter_name is text, not character varying(100); column created_at is timestamp without time zone, not timestamp with time zone',
    ],
    ['alter table lora_adapters alter column size_bytes drop not null', 'column size_bytes is not NOT NULL'],
    ['alter table lora_adapters add column region text not null', 'column region is NOT NULL without a default'],
    ['drop table lora_adapters; create view lora_adapters as select 1 as id', 'it is no ordinary table'],
    [
      `drop table lora_adapters; drop table users; create table users (id bigint primary key)`,
      'table users needs a column id of type uuid to own adapters, and has one of type bigint',
    ],
    [
      'create schema mine; alter table lora_adapters set schema mine; alter table users set schema mine',
      'there is a lora_adapters in schema mine, and this migration works in public',
    ],
  ])('after %s', async (change, fault) => {
    await client.query(RUST);
    await client.query(change);
    const found = await dumpSchema(client);
    const url = new URL(database.url);
    url.searchParams.set('options', '-c search_path=public,mine');
    const failure = await migrate({ postgres: url.toString() }).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'SCHEMA_OUT_OF_DATE', message: expect.stringContaining(fault) });
    expect(await dumpSchema(client)).toBe(found);
  });

  test('twice the same version', async () => {
    await client.query(RUST + ROWS);
    await client.query(`
      alter table lora_adapters drop constraint lora_adapters_user_id_adapter_name_version_key;
      update lora_adapters set version = 1 where version = 2`);
    await expect(migrate({ postgres: database.url })).rejects.toThrow('could not create unique index');
  });

  test('a role that may not lock users', async () => {
    const role = `lora_${new URL(database.url).pathname.slice(1)}`;
    await client.query(RUST);
    await client.query(`create role ${role}`);
    try {
      await client.query(`
        alter table lora_adapters owner to ${role};
        grant all on schema public to ${role}; grant select, references on users to ${role}`);
      const url = new URL(database.url);
      url.searchParams.set('options', `-c role=${role}`);
      await expect(migrate({ postgres: url.toString() })).rejects.toThrow(
        `role ${role} needs SELECT and UPDATE on table users`,
      );
    } finally {
      await client.query(`drop owned by ${role} cascade; drop role ${role}`);
    }
  });
});
