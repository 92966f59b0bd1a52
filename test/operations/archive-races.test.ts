/** Archive in the middle: whoever writes between its steps loses nothing, and what it could not know is told. */
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { encodeAdapter } from '../../src/index.js';
import { archiveInactive } from '../../src/operations/archive.js';
import { importVersions } from '../../src/operations/import.js';
import { sourceOf } from '../../src/operations/source-database.js';
import { DELETE_USER_VERSIONS } from '../../src/operations/statements.js';
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
});

test('what somebody wrote over an import meanwhile is theirs, and a later copy is a conflict', async () => {
  await sql('insert into users values ($1)', [user(1)]);
  const copy = (seed: number) => ({
    ...{ userId: user(1), adapterName: 'default', version: 1, trainingIterations: 0 },
    ...{ createdAt: '2025-01-01T00:00:00.000000Z', updatedAt: '2025-01-01T00:00:00.000000Z' },
    bytes: encodeAdapter(smallAdapter(user(1), seed)),
  });
  const fates: string[] = [];
  async function* copies() {
    yield copy(1);
    yield copy(2); // the first one is written
    yield copy(3); // the second one
    await sql('update lora_adapters set training_iterations = 1');
    yield copy(4);
  }
  const told = (_: unknown, fate: string) => fates.push(fate);
  await importVersions(tables, copies(), { createUsers: false }, told, new AbortController().signal);
  expect(fates).toEqual(['imported', 'replaced', 'conflict', 'conflict']);
});
