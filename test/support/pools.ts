/** Pools of pg that a test makes itself. */
import type pg from 'pg';
import { waitFor } from './wait.js';

/**
 * Ends a pool that nobody uses any more, and waits until its sockets have closed, for which its own end() does not wait: a
 * server that is stopped after that one may still tell an ending connection so, which is an error that nobody listens for.
 */
export async function endPool(pool: pg.Pool | undefined): Promise<void> {
  if (pool === undefined) return;
  const open = pool.totalCount;
  const closed = new Set<pg.PoolClient>();
  pool.on('remove', (client) => closed.add(client));
  await pool.end();
  await waitFor(() => closed.size >= open, { what: `the end of ${open} connections of a pool` });
}
