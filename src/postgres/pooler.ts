/**
 * A pooler between this process and Postgres, such as PgBouncer, lends a session of the server for one transaction:
 * prepared statements, settings, LISTEN and session locks are lost with it, or come upon somebody else. It gives itself away
 * by the process id that came with the connection, for cancelling: it makes up one of its own.
 */
import type pg from 'pg';

/** What needs a session of the server's own was sent to a pooler. */
export class PoolerError extends Error {}

/** backendPid: what pg_backend_pid() says on this connection. */
export function isPooled(client: pg.ClientBase, backendPid: number | undefined): boolean {
  const { processID } = client as { processID?: unknown };
  // The native binding of pg does not tell it.
  return typeof processID === 'number' && processID !== backendPid;
}

/** The same, asked on a connection of one's own. */
export async function leadsToPooler(client: pg.ClientBase): Promise<boolean> {
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
  return isPooled(client, rows[0]?.pid);
}
