/** Migration 004 on tables that are in use: the column, and the trigger that keeps it from vouching for other bytes. */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { applyFiles, waysToApply } from './support/migration-files.js';

let database: TestDatabase;
let client: pg.Client;

beforeAll(async () => {
  database = await createDatabase();
  client = new pg.Client(database.url);
  await client.connect();
});
afterAll(async () => {
  await client?.end();
  await database?.drop();
});

/** A row whose weights have one byte, and this checksum; its id. */
async function row(checksum: number | null): Promise<string> {
  const { rows } = await client.query(
    `with owner as (insert into users (id) values (gen_random_uuid()) returning id)
     insert into lora_adapters (user_id, weights, size_bytes, checksum) select id, '\\x01', 1, $1 from owner returning id`,
    [checksum],
  );
  return rows[0].id;
}

async function checksumOf(id: string): Promise<number | null> {
  const { rows } = await client.query('select checksum::float8 as checksum from lora_adapters where id = $1', [id]);
  return rows[0].checksum;
}

test.each([
  ['other weights clear it', `weights = '\\x02'`, null],
  ['the same weights again leave it', `weights = '\\x01'`, 4_294_967_295],
  ['other weights with their checksum set it', `weights = '\\x02', checksum = 7`, 7],
  ['a change of anything else leaves it', 'training_iterations = 9, size_bytes = 1', 4_294_967_295],
])('%s', async (_, change, expected) => {
  const id = await row(4_294_967_295);
  await client.query(`update lora_adapters set ${change} where id = $1`, [id]);
  expect(await checksumOf(id)).toBe(expected);
});

test('a service that knows no such column inserts and updates as before', async () => {
  const id = await row(null);
  await client.query(`update lora_adapters set weights = '\\x03' where id = $1`, [id]);
  expect(await checksumOf(id)).toBeNull();
});

describe.each(waysToApply())('by %s', (_, apply) => {
  test('twice is once, down takes it away, and the rows stay', async () => {
    const id = await row(5);
    await applyFiles(database.url, 'up', ['004'], apply);
    expect(await checksumOf(id)).toBe(5);
    for (let times = 0; times < 2; times++) await applyFiles(database.url, 'down', ['004'], apply);
    await expect(checksumOf(id)).rejects.toThrow('column "checksum" does not exist');
    await applyFiles(database.url, 'up', ['004'], apply);
    expect(await checksumOf(id)).toBeNull();
  });

  test('a column of that name that somebody else made is neither taken over nor dropped', async () => {
    await applyFiles(database.url, 'down', ['004'], apply);
    await client.query(`alter table lora_adapters add column checksum text default 'theirs'`);
    await expect(applyFiles(database.url, 'up', ['004'], apply)).rejects.toThrow(
      'has a column checksum that is not ours',
    );
    await applyFiles(database.url, 'down', ['004'], apply);
    const { rows } = await client.query('select distinct checksum from lora_adapters');
    expect(rows).toEqual([{ checksum: 'theirs' }]);
    await client.query('alter table lora_adapters drop column checksum');
    await applyFiles(database.url, 'up', ['004'], apply);
  });
});

test('without the table it says what to apply first', async () => {
  const empty = await createDatabase({ template: 'empty' });
  await expect(applyFiles(empty.url, 'up', ['004'])).rejects.toThrow(
    'has no table lora_adapters: apply migration 002 first',
  );
  await empty.drop();
});
