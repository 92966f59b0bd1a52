/**
 * The work of a tier by hand: statements that one would write against lora_adapters without this package, prepared, as a
 * caller of pg sends them.
 */
import pg, { type Pool, type QueryConfig } from 'pg';

export const NEWEST =
  'select weights from lora_adapters where user_id = $1 and adapter_name = $2 order by version desc limit 1';

/** max: connections. */
export function poolOf(url: string, max = 10): Pool {
  const pool = new pg.Pool({ connectionString: url, max });
  // end() does not wait for the sockets, and a server that stops says so to those that are left.
  pool.on('error', () => {});
  return pool;
}

/** The newest of one user. */
export function newest(user: string, adapterName: string): QueryConfig {
  return { name: 'newest', text: NEWEST, values: [user, adapterName] };
}

/** The newest of each of many, in no order. */
export function newestOf(users: readonly string[], adapterName: string): QueryConfig {
  const text = `select distinct on (user_id) user_id, weights from lora_adapters
    where user_id = any($1) and adapter_name = $2 order by user_id, version desc`;
  return { name: 'newest of many', text, values: [users, adapterName] };
}

/** A table as migration 002 makes it, columns, indexes and foreign key, without the triggers and heads of ours. */
export async function createBareTable(pool: Pool): Promise<void> {
  await pool.query('create table bare_adapters (like lora_adapters including all)');
  await pool.query('alter table bare_adapters add foreign key (user_id) references users (id) on delete cascade');
}

/** One row of it. */
export function insertBare(user: string, adapterName: string, version: number, record: Buffer): QueryConfig {
  const text = `insert into bare_adapters (user_id, adapter_name, version, weights, size_bytes, training_iterations)
    values ($1, $2, $3, $4, $5, 0)`;
  return { name: 'insert bare', text, values: [user, adapterName, version, record, record.length] };
}

export function deleteBare(user: string, adapterName: string): QueryConfig {
  const text = 'delete from bare_adapters where user_id = $1 and adapter_name = $2';
  return { name: 'delete bare', text, values: [user, adapterName] };
}
