/** `lora-store import -`: Ctrl-C ends it, whatever its stdin does. */
import type { Writable } from 'node:stream';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { withClient } from '../support/template.js';
import { waitFor } from '../support/wait.js';
import { type Running, start } from './archives.js';

let db: TestDatabase;

beforeAll(async () => {
  db = await createDatabase();
});

afterAll(() => db?.drop());

test('before a byte has come', async () => {
  const running = start(['import', '-'], { DATABASE_URL: db.url });
  const connected = `select from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid() and state = 'idle'`;
  await waitFor(() => withClient(db.url, async (client) => (await client.query(connected)).rows.length > 0));
  await expectEnd(running);
});

test('in the middle of an archive, of which nothing is said then', async () => {
  const running = start(['import', '-'], { DATABASE_URL: db.url });
  const stdin = running.process.stdin as Writable;
  // More than a pipe holds: once it is taken, somebody reads.
  await promisify((done: (error?: Error | null) => void) => stdin.write(Buffer.alloc(2 ** 20), done))();
  await expectEnd(running);
});

async function expectEnd(running: Running): Promise<void> {
  running.process.kill('SIGINT');
  const { code, stderr } = await running.ended;
  expect([code, stderr]).toEqual([130, expect.stringContaining('interrupted')]);
  expect(stderr).not.toContain('cut off');
}
