/** The queries of docs/troubleshooting.md, asked as a role that may not look into the sessions of others: whoever holds the locks is there. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type OwnServer, startPostgres } from '../support/postgres.js';
import { root } from '../support/root.js';
import { withClient } from '../support/template.js';

const page = readFileSync(join(root, 'docs/troubleshooting.md'), 'utf8');
let server: OwnServer;
/** Idle in a transaction. */
let culprit: pg.Client;

beforeAll(async () => {
  server = await startPostgres();
  culprit = new pg.Client({ connectionString: server.url, application_name: 'culprit' });
  await culprit.connect();
  await culprit.query(`create role app login password 'secret'`);
  await culprit.query('begin');
});
afterAll(async () => {
  await culprit?.end();
  await server?.stop();
});

test.each([
  ['what runs, and what waits for what', 'pg_blocking_pids'],
  ['who has connections', `current_setting('max_connections')`],
])('%s', async (_, words) => {
  const [, sql = ''] = [...page.matchAll(/```sql\n(.*?)```/gs)].find(([, block = '']) => block.includes(words)) ?? [];
  const url = new URL(server.url);
  [url.username, url.password] = ['app', 'secret'];
  const { rows } = await withClient(url.href, (client) => client.query(sql));
  expect(rows.filter(({ application_name }) => application_name === 'culprit')).toMatchObject([{ state: 'hidden' }]);
});
