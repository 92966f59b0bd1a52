/** The end of a pool, before a server that is stopped. */
import pg from 'pg';
import { expect, test } from 'vitest';
import { endPool } from './pools.js';
import { startPostgres } from './postgres.js';
import { startProxy } from './proxy.js';

test('a pool has ended when its connections have, and what a server says as it stops finds nobody', async () => {
  const server = await startPostgres();
  const proxy = await startProxy(server.port);
  const pool = new pg.Pool({ connectionString: proxy.url(server.url) });
  await Promise.all([1, 2, 3].map(() => pool.query('select pg_sleep(0.1)')));
  expect(proxy.connections).toBe(3);
  await endPool(pool);
  expect(proxy.connections).toBe(0);
  await server.stop();
  await proxy.close();
});

test('a pool that never connected, or is not there, has ended at once', async () => {
  await endPool(undefined);
  const pool = new pg.Pool();
  await endPool(pool);
  expect(pool.ended).toBe(true);
});
