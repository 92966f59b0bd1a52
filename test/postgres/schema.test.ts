/**
 * The schema that all migrations together make, kept where it can be reviewed (test/fixtures/schema.sql), and the check
 * that a database has it. After a change of migrations: `npx vitest run test/postgres/schema.test.ts -u`, and read the
 * difference.
 */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SchemaError } from '../../src/errors.js';
import { checkSchema } from '../../src/postgres/schema.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { dumpSchema } from './support/dump.js';

let database: TestDatabase;
let client: pg.Client;

beforeAll(async () => {
  database = await createDatabase();
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
});

afterAll(async () => {
  await client?.end();
  await database?.drop();
});

async function arrays(text: string): Promise<unknown[][]> {
  return (await client.query<unknown[]>({ text, rowMode: 'array' })).rows;
}

/** What checkSchema says after `change`, which is undone. */
async function complaintAfter(change: string): Promise<unknown> {
  await client.query('begin');
  try {
    await client.query(change);
    return await checkSchema(arrays).catch((error: unknown) => error);
  } finally {
    await client.query('rollback');
  }
}

test('the migrations make this schema', async () => {
  await expect(await dumpSchema(client)).toMatchFileSnapshot('../fixtures/schema.sql');
});

describe('checkSchema', () => {
  test('accepts it', async () => {
    await expect(checkSchema(arrays)).resolves.toBeUndefined();
  });

  test.each([
    ['drop table lora_adapter_heads', 'table lora_adapter_heads in schema public of database HERE'],
    ['drop table lora_adapters', 'table lora_adapters in schema public of database HERE'],
    ['drop table users cascade', 'table users in schema public of database HERE'],
    [
      'alter table lora_adapters drop column weights cascade',
      'column lora_adapters.weights of type bytea (and 1 more)',
    ],
    [
      'alter table lora_adapter_heads alter column revision type integer using 1',
      'column lora_adapter_heads.revision of type bigint',
    ],
    [
      'alter table lora_adapter_heads drop column revision, drop column last_version',
      'column lora_adapter_heads.last_version of type integer (and 1 more)',
    ],
    ['drop trigger lora_adapters_lock_head on lora_adapters', 'trigger lora_adapters_lock_head on lora_adapters'],
    [
      'drop function lora_adapters_settle_heads cascade',
      'trigger lora_adapters_settle_delete on lora_adapters (and 3 more)',
    ],
    [
      `drop trigger lora_adapters_settle_truncate on lora_adapters;
       create trigger lora_adapters_settle_truncate before update on lora_adapters
       for each row execute function lora_adapters_touch()`,
      'trigger lora_adapters_settle_truncate on lora_adapters',
    ],
  ])('after %s', async (change, missing) => {
    const complaint = await complaintAfter(change);
    expect(complaint).toBeInstanceOf(SchemaError);
    expect(complaint).toHaveProperty(
      'message',
      `the database is without ${missing.replace('HERE', new URL(database.url).pathname.slice(1))}: run \`npx lora-store migrate up\``,
    );
  });

  test.each([
    [
      'alter table lora_adapters disable trigger lora_adapters_settle_truncate',
      'trigger lora_adapters_settle_truncate on lora_adapters, which is disabled: ' +
        'in psql run `alter table lora_adapters enable trigger lora_adapters_settle_truncate`',
    ],
    [
      'alter table lora_adapter_heads enable replica trigger lora_adapter_heads_notify_update',
      'trigger lora_adapter_heads_notify_update on lora_adapter_heads, which is disabled: ' +
        'in psql run `alter table lora_adapter_heads enable trigger lora_adapter_heads_notify_update`',
    ],
    // Migrated there, it would be empty, and every adapter gone.
    [
      'create schema app; set local search_path = app',
      'table lora_adapter_heads in schema app of database HERE (and 2 more): schema public has it, and has to be in the search_path',
    ],
  ])('after %s: not what a migration mends', async (change, complaint) => {
    expect(await complaintAfter(change)).toHaveProperty(
      'message',
      `the database is without ${complaint.replace('HERE', new URL(database.url).pathname.slice(1))}`,
    );
  });
});
