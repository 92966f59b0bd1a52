/** Migration 003 taken away and put back, once or over heads that are there, never makes a revision smaller. */
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { applyFiles, waysToApply } from './support/migration-files.js';
import { ANNA, BERT, headOf, insertNext, insertVersion, save, wrongHeads } from './support/writers.js';

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
beforeEach(async () => {
  await client.query('delete from users; delete from lora_adapter_heads');
  await client.query(`insert into users values ('${ANNA}'), ('${BERT}')`);
});

const KEYS = [ANNA, BERT].flatMap((userId) => ['default', 'gone', 'other'].map((name) => [userId, name] as const));

/** By key; undefined where there is no head. */
async function revisions(): Promise<(number | undefined)[]> {
  return await Promise.all(KEYS.map(async ([userId, name]) => (await headOf(client, userId, name))?.revision));
}

/** Every kind of head: saved, inserted, rewritten, emptied, and bumped as often as a busy adapter is. */
async function write(): Promise<void> {
  for (const [userId, name] of KEYS) for (let i = 0; i < 50; i++) await save(client, userId, name, `${i}`);
  await insertNext(client, ANNA, 'other');
  await insertVersion(client, BERT, 'other', 900);
  await client.query(`update lora_adapters set weights = 'x' where user_id = '${BERT}' and version = 900`);
  await client.query(`delete from lora_adapters where adapter_name = 'gone'`);
}

test.each(waysToApply())('down and up again: %s', async (_how, apply) => {
  await write();
  const before = await revisions();
  for (let round = 0; round < 3; round++) {
    await applyFiles(database.url, 'down', ['003'], apply);
    await applyFiles(database.url, 'up', ['003'], apply);
  }
  const after = await revisions();
  expect(await wrongHeads(client)).toEqual([]);
  // An adapter without a body has no head any more; its next one is newer than the last.
  for (const [i, [userId, name]] of KEYS.entries()) {
    if (name === 'gone') expect(after[i]).toBeUndefined();
    const now = after[i] ?? Number((await save(client, userId, name)).revision);
    expect(now).toBeGreaterThan(before[i] as number);
  }
});

test('up over heads that are there, some of them lost and some ahead of the clock: none goes back', async () => {
  await write();
  const ahead = 2 ** 52;
  await client.query(`update lora_adapter_heads set revision = ${ahead} where user_id = '${ANNA}'`);
  const before = await revisions();
  await client.query(`delete from lora_adapter_heads where user_id = '${BERT}' and adapter_name = 'other'`);
  await applyFiles(database.url, 'up', ['003']);
  const after = await revisions();
  for (const [i, revision] of after.entries()) expect(revision).toBeGreaterThanOrEqual(before[i] as number);
  expect(await wrongHeads(client)).toEqual([]);
  // A clock that was set back does not take revisions with it.
  expect(Number((await save(client, ANNA, 'default')).revision)).toBe(ahead + 1);
});
