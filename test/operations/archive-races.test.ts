/** Archive in the middle: whoever writes between its steps loses nothing, and what it could not know is told. */
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { encodeAdapter } from '../../src/index.js';
import { archiveInactive } from '../../src/operations/archive.js';
import { importVersions } from '../../src/operations/import.js';
import { sourceOf } from '../../src/operations/source-database.js';
import { DELETE_USER_VERSIONS } from '../../src/operations/statements/archives.js';
import { Tables } from '../../src/operations/tables.js';
import { TarTarget } from '../../src/operations/tar-target.js';
import type { Session } from '../../src/postgres/database.js';
import { contents, scratchDirectory, seed, user } from '../cli/archives.js';
import { loraJson } from '../cli/support.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { smallAdapter } from '../support/storage.js';
import { withClient } from '../support/template.js';

const scratch = scratchDirectory();
let db: TestDatabase;
let tables: Tables;

beforeEach(async () => {
  db = await createDatabase();
  tables = await Tables.open(db.url, 60_000);
});

afterEach(async () => {
  await tables?.close();
  await db?.drop();
});

const sql = (text: string, values: unknown[] = []) => withClient(db.url, (client) => client.query(text, values));

/** The real tables, with a moment for somebody else. */
function meeting(at: { begin?: () => Promise<unknown>; beforeDelete?: () => Promise<unknown> }): Tables {
  const session = (real: Session): Session => ({
    rows: async (asked, values) => {
      if (asked === DELETE_USER_VERSIONS) await at.beforeDelete?.();
      return await real.rows(asked, values);
    },
  });
  return Object.create(tables, {
    rows: { value: tables.rows.bind(tables) },
    transaction: {
      value: async <T>(work: (real: Session) => Promise<T>) => {
        await at.begin?.();
        return await tables.transaction((real) => work(session(real)));
      },
    },
  });
}

async function archive(file: string, from: Tables) {
  const target = await TarTarget.open(join(scratch, file), { command: 'archive', source: await sourceOf(tables) });
  const left: string[] = [];
  const report = { progress() {}, fault() {}, returned: (userId: string) => left.push(userId) };
  try {
    return { ...(await archiveInactive(from, 86_400, target, report, new AbortController().signal)), left };
  } finally {
    await target.close();
  }
}

const versions = async () => (await contents(db.url)).map((row) => (row as { version: number }).version);

test('what is saved between lock and delete, in a table without a foreign key, stays', async () => {
  await withClient(db.url, (client) => seed(client, [{ userId: user(1) }]));
  await sql('alter table lora_adapters drop constraint lora_adapters_user_id_fkey');
  await sql('delete from users');
  const beforeDelete = () =>
    sql(`insert into lora_adapters (user_id, adapter_name, version, weights, size_bytes)
         select user_id, adapter_name, 2, weights, size_bytes from lora_adapters`);
  expect(await archive('locked.tar', meeting({ beforeDelete }))).toMatchObject({ users: 1 });
  expect(await versions()).toEqual([2]);
});

test('a delete that does not take exactly what was locked is undone', async () => {
  await withClient(db.url, (client) => seed(client, [{ userId: user(1) }, { userId: user(1), version: 2 }]));
  await sql(`create function keep() returns trigger language plpgsql as 'begin return null; end'`);
  await sql(
    'create trigger keep before delete on lora_adapters for each row when (old.version = 1) execute function keep()',
  );
  await expect(archive('kept.tar', tables)).rejects.toThrow(/1 of 2 versions .* were deleted/);
  expect(await versions()).toEqual([1, 2]);
});
test.each([
  ['all', 'delete from lora_adapters', []],
  ['one', 'delete from lora_adapters where version = 2', [1]],
])('a user of whom %s is deleted after it was read is named: the archive holds it', async (_, deletion, rest) => {
  await withClient(db.url, (client) => seed(client, [{ userId: user(1) }, { userId: user(1), version: 2 }]));
  const archived = await archive(`deleted-${rest.length}.tar`, meeting({ begin: () => sql(deletion) }));
  expect(archived).toMatchObject({ users: 0, returned: 1, left: [user(1)] });
  expect(await versions()).toEqual(rest);
});

test('what was written to between a death and the next run is what comes back, and not the copy before it', async () => {
  await withClient(db.url, (client) => seed(client, [{ userId: user(1) }, { userId: user(1), adapterName: 'facts' }]));
  const dies = () => Promise.reject(new Error('killed'));
  await expect(archive('stale.tar', meeting({ begin: dies }))).rejects.toThrow('killed');
  copyFileSync(join(scratch, 'stale.tar.partial'), join(scratch, 'earlier.tar'));
  const fresh = encodeAdapter(smallAdapter(user(1), 77));
  await sql(`update lora_adapters set weights = $1, updated_at = '2025-02-02' where adapter_name = 'default'`, [fresh]);
  await sql(`update lora_adapters set training_iterations = 7, updated_at = '2025-02-02' where adapter_name = 'facts'`);
  const before = await contents(db.url);
  const args = ['archive', '--inactive', '1d', join(scratch, 'stale.tar'), '--postgres', db.url];
  expect(await loraJson(args)).toMatchObject({ users: 1, versions: 4 });
  expect(await contents(db.url)).toEqual([]);

  const importing = ['import', join(scratch, 'stale.tar'), '--postgres', db.url];
  expect(await loraJson(importing)).toMatchObject({ imported: 2, unchanged: 0, problems: 0 });
  expect(await contents(db.url)).toEqual(before);

  // The same after an import that ended between the two copies.
  await sql('delete from lora_adapters');
  expect(await loraJson(['import', join(scratch, 'earlier.tar'), '--postgres', db.url])).toMatchObject({ imported: 2 });
  expect(await contents(db.url)).not.toEqual(before);
  expect(await loraJson(importing)).toMatchObject({ imported: 0, unchanged: 2, problems: 0 });
  expect(await contents(db.url)).toEqual(before);
  // Once more: the earlier copy has other bytes.
  expect(await loraJson(importing)).toMatchObject({ imported: 0, unchanged: 3, problems: 1 });
  expect(await contents(db.url)).toEqual(before);
});

const CREATED = '2025-01-01T00:00:00.000000Z';
const LATER = '2025-01-02T00:00:00.000000Z';

const copy = (seed: number, times = {}) => ({
  ...{ userId: user(1), adapterName: 'default', version: 1, trainingIterations: 0 },
  ...{ createdAt: CREATED, updatedAt: CREATED, ...times },
  bytes: encodeAdapter(smallAdapter(user(1), seed)),
});

async function fatesOf(copies: () => AsyncGenerator<ReturnType<typeof copy>>): Promise<string[]> {
  const fates: string[] = [];
  const told = (_: unknown, fate: string) => fates.push(fate);
  await importVersions(tables, copies(), { createUsers: true }, told, new AbortController().signal);
  return fates;
}

test('what somebody wrote over an import meanwhile is theirs, and a later copy is a conflict', async () => {
  const fates = await fatesOf(async function* () {
    yield copy(1);
    yield copy(2); // the first one is written
    yield copy(3); // the second one
    await sql('update lora_adapters set training_iterations = 1');
    yield copy(4);
  });
  expect(fates).toEqual(['imported', 'replaced', 'conflict', 'conflict']);
});

test('a row that was there as an earlier copy has it gives way to a later state of itself, and to nothing else', async () => {
  await fatesOf(async function* () {
    yield copy(1);
  });
  const fates = await fatesOf(async function* () {
    yield copy(1);
    yield copy(2); // no later
    yield copy(3, { createdAt: LATER, updatedAt: LATER }); // of another database
    yield copy(4, { updatedAt: LATER });
    yield copy(5, { updatedAt: LATER });
  });
  expect(fates).toEqual(['unchanged', 'conflict', 'conflict', 'replaced', 'replaced']);
  const afterWrite = await fatesOf(async function* () {
    yield copy(5, { updatedAt: LATER });
    yield copy(5, { updatedAt: LATER }); // the first one is looked at
    await sql('update lora_adapters set training_iterations = 1');
    yield copy(6, { updatedAt: '2099-01-02T00:00:00.000000Z' });
  });
  expect(afterWrite).toEqual(['unchanged', 'unchanged', 'conflict']);
});
