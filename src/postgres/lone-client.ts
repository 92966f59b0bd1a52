/** One connection for work that is done once, such as a migration: a client of one's own, or one that a pool lends. */
import pg from 'pg';
import { StorageUnavailableError } from '../errors.js';
import { isPool, type PostgresSource } from '../options.js';
import { tlsFailure } from './failure.js';
import { leadsToPooler } from './pooler.js';
import type { Query } from './schema.js';

export interface Connection {
  readonly client: pg.ClientBase;
  /** Host, port and database: what an error may tell. */
  readonly where: string;
  release(broken: boolean): Promise<void> | void;
}

export async function connect(source: PostgresSource): Promise<Connection> {
  if (isPool(source)) {
    const where = 'the pool that was passed';
    const client = await source.connect().catch((error: unknown) => {
      throw unreachable(error, where);
    });
    // The pool listens only while a client is idle; a connection that dies in our hands would end the process.
    client.on('error', ignore);
    return {
      client,
      where,
      release(broken) {
        client.off('error', ignore);
        client.release(broken);
      },
    };
  }
  const client = newClient(source);
  const where = `${client.host}:${client.port}/${client.database ?? ''}`;
  client.on('error', ignore);
  try {
    await client.connect();
  } catch (error) {
    await client.end().catch(ignore);
    throw unreachable(error, where);
  }
  return { client, where, release: () => client.end() };
}

function newClient(source: string | pg.PoolConfig): pg.Client {
  const config = typeof source === 'string' ? { connectionString: source } : source;
  try {
    return new pg.Client({ connectionTimeoutMillis: 10_000, application_name: 'lora-store migrate', ...config });
  } catch (cause) {
    // Without the cause: the parser's error holds what it could not parse, password and all.
    throw new TypeError(`option postgres is no connection string: ${(cause as Error).message}`);
  }
}

/**
 * Rejects where a pooler is between: the lock that keeps two migrations apart belongs to a session, and would stay behind
 * on one of the pooler's.
 */
export async function refusePooler(client: pg.ClientBase): Promise<void> {
  if (!(await leadsToPooler(client))) return;
  throw new TypeError(
    'option postgres leads to a pooler, whose sessions may be shared: migrate with the URL of the server itself',
  );
}

/** For checkSchema(). */
export function rowsOf(client: pg.ClientBase): Query {
  return async (text) => (await client.query<unknown[]>({ text, rowMode: 'array' })).rows;
}

export function unreachable(error: unknown, where: string): StorageUnavailableError {
  const { code, message } = error as { code?: unknown; message?: unknown };
  const tls = tlsFailure(error);
  const text =
    tls === undefined && /^28/.test(String(code))
      ? `authentication failed at Postgres ${where}: correct the user or password`
      : `cannot reach Postgres at ${where}: ${tls ?? (message || code)}`;
  return new StorageUnavailableError(text, { cause: error });
}

function ignore(): void {}
