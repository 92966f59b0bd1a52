/** What stands in an archive or a row is data: it stops no command, and steers no terminal. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { withClient } from '../support/template.js';
import { contents, scratchDirectory, seed, user } from './archives.js';
import { lora } from './support.js';

const scratch = scratchDirectory();
const at = (name: string) => join(scratch, name);
let db: TestDatabase;

beforeAll(async () => {
  db = await createDatabase();
});

afterAll(() => db?.drop());

test('control characters of a path are shown, and not obeyed', async () => {
  mkdirSync(at('odd'));
  writeFileSync(join(at('odd'), '\x1b[2Jx.lora'), 'x');
  const { stderr } = await lora(['import', at('odd'), '--postgres', db.url]);
  expect(stderr).toContain('\\x1b[2Jx.lora');
  expect(stderr).not.toMatch(/[^\P{Cc}\n]/u);
  const refused = await lora(['export', '\x1b[2J.tar', '--user', '\x07', '--postgres', db.url]);
  expect(refused.stderr).not.toMatch(/[^\P{Cc}\n]/u);
});

test('a line break in a path makes no line, and a name turns no text around', async () => {
  mkdirSync(at('forged'));
  writeFileSync(join(at('forged'), 'x\nlora-store: \u202eall is well\u2066.lora'), 'x');
  const { stderr } = await lora(['import', at('forged'), '--postgres', db.url]);
  expect(stderr).toMatch(
    /^lora-store: problem: .*x\\x0alora-store: \\u202eall is well\\u2066\.lora: .*\n.*cut off.*\n$/,
  );
  const absent = await lora(['import', 'x\nlora-store: all is well.tar', '--postgres', db.url]);
  expect(absent.stderr).toMatch(/^lora-store: .* 'x\\x0alora-store: all is well.tar'\n$/);
  await withClient(db.url, (client) => seed(client, [{ userId: user(3), adapterName: 'a\u202eb' }]));
  expect((await lora(['list', user(3), '--postgres', db.url])).stdout).toContain('a\\u202eb ');
  await withClient(db.url, (client) => client.query('delete from lora_adapters'));
});

test('a row that no import would take is left out, and its user stays', async () => {
  await withClient(db.url, async (client) => {
    await seed(client, [{ userId: user(1) }, { userId: user(2) }]);
    await client.query('update lora_adapters set training_iterations = -1, updated_at = $2 where user_id = $1', [
      user(1),
      '2025-01-01',
    ]);
  });
  const exported = await lora(['export', at('rows.tar'), '--postgres', db.url]);
  expect([exported.code, exported.stderr]).toEqual([
    1,
    expect.stringMatching(/left out: .*'default' version 1 of user/),
  ]);
  const archived = await lora(['archive', '--inactive', '1d', at('gone.tar'), '--postgres', db.url]);
  expect([archived.code, archived.stderr]).toEqual([1, expect.stringContaining(`user ${user(1)} stays`)]);
  expect((await contents(db.url)).map((row) => (row as { user_id: string }).user_id)).toEqual([user(1)]);
});
