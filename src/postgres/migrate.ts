/**
 * Brings a database to the schema of this version, or back: runs migrations/*.sql in order, each once, all in one
 * transaction, under a lock that a second caller waits for. What ran is kept in the table lora_store_migrations; a
 * database where the files were applied by psql is adopted, since every file may be run again.
 */
import { fileURLToPath } from 'node:url';
import { runner } from 'node-pg-migrate';
import type pg from 'pg';
import { SchemaError } from '../errors.js';
import type { PostgresSource } from '../options.js';
import { connect, refusePooler, rowsOf, unreachable } from './lone-client.js';
import { checkSchema } from './schema.js';

export interface MigrateOptions {
  /** A URL, a pg PoolConfig, or a Pool of the caller's, which lends one client. Default: DATABASE_URL. */
  postgres?: PostgresSource;
  /** Default 'up'. */
  direction?: 'up' | 'down';
  /** How many migrations to run at most. Default: up all, down 1. */
  count?: number;
}

/** The same two levels up from src/postgres and from dist/postgres. */
export const DIRECTORY = fileURLToPath(new URL('../../migrations', import.meta.url));

export const TABLE = 'lora_store_migrations';

/** Not node-pg-migrate's own number: a service whose migrations run with it, and call us, would wait for itself. */
const LOCK = 8_317_012_604_911_773;

const SILENT = { debug: ignore, info: ignore, warn: ignore, error: ignore };

/** Names of the migrations that ran, such as '001_users', in the order they ran in. */
export async function migrate(options: MigrateOptions = {}): Promise<string[]> {
  const { source, direction, count } = parse(options);
  const { client, where, release } = await connect(source);
  let alive = true;
  try {
    await refusePooler(client);
    if (direction === 'down') await refusePartitioned(client);
    const ran = await runner({
      dbClient: client,
      dir: DIRECTORY,
      migrationLoaderStrategies: [{ extensions: ['.sql'], loader: 'sql' }],
      migrationsTable: TABLE,
      migrationsSchema: await currentSchema(client),
      direction,
      ...(count === undefined ? {} : { count }),
      // Its default is documented and not true of the programmatic call; without it a failure leaves the lock held.
      singleTransaction: true,
      advisoryLockMode: 'wait',
      lockValue: LOCK,
      logger: SILENT,
    });
    if (direction === 'up' && count === undefined) await checkResult(client);
    return ran.map(({ name }) => name);
  } catch (error) {
    if (error instanceof SchemaError || error instanceof TypeError) throw error;
    // The runner wraps some errors and keeps only their text: asking is the way to know whether the connection was lost.
    alive = await client.query('rollback').then(
      () => true,
      () => false,
    );
    if (!alive) throw unreachable(error, where);
    const [reason] = String((error as Error).message).split('\n');
    throw new SchemaError(`the migration was rolled back: ${reason}`, { cause: error });
  } finally {
    await release(!alive);
  }
}

export function parse(options: MigrateOptions) {
  const { postgres: source = process.env.DATABASE_URL, direction = 'up', count } = options;
  if (source === undefined || source === '') {
    throw new TypeError('no Postgres to migrate: set DATABASE_URL, or pass the option postgres');
  }
  if (typeof source === 'string' && source.startsWith('embedded:')) {
    throw new TypeError(`migrate() needs the URL of a running server: '${source}' is started by LoRAStorage.open()`);
  }
  if (typeof source === 'string' && !/^(postgres(ql)?:|socket:|\/)/.test(source)) {
    throw new TypeError('option postgres (or DATABASE_URL) must be a postgres:// URL, a pg PoolConfig or a pg Pool');
  }
  if (direction !== 'up' && direction !== 'down') {
    throw new TypeError(`option direction must be 'up' or 'down', not ${JSON.stringify(direction)}`);
  }
  if (count !== undefined && !(Number.isSafeInteger(count) && count > 0)) {
    throw new TypeError(`option count must be a whole number from 1, not ${String(count)}`);
  }
  return { source, direction, count };
}

/** The bookkeeping goes where an unqualified CREATE TABLE goes. */
async function currentSchema(client: pg.ClientBase): Promise<string> {
  const { rows } = await client.query<{ schema: string | null }>('select current_schema() as schema');
  const schema = rows[0]?.schema;
  if (typeof schema === 'string') return schema;
  throw new SchemaError('no schema of the search_path exists: create one, or correct search_path');
}

/** What `lora-store partition` made is no migration's to take away: functions of 003 are in use by triggers of partitions. */
async function refusePartitioned(client: pg.ClientBase): Promise<void> {
  const { rows } = await client.query<{ partitioned: boolean; rebuilt: boolean }>(
    `select exists (select from pg_class where oid = to_regclass('lora_adapters') and relkind = 'p') as partitioned,
       to_regclass('lora_store_rebuild') is not null as rebuilt`,
  );
  const [{ partitioned, rebuilt } = { partitioned: false, rebuilt: false }] = rows;
  if (rebuilt) {
    throw new SchemaError(
      'lora_adapters is being rebuilt: end that with `lora-store partition`, or give it up with `lora-store partition --cancel`',
    );
  }
  if (partitioned) {
    throw new SchemaError(
      'lora_adapters is partitioned: make one table of it first, with `lora-store partition --undo`',
    );
  }
}

/** All is recorded as done, and yet something is missing: a trigger dropped or disabled by hand. Up cannot know which. */
async function checkResult(client: pg.ClientBase): Promise<void> {
  try {
    await checkSchema(rowsOf(client));
  } catch (error) {
    if (!(error instanceof SchemaError) || !error.message.includes('lora-store migrate up')) throw error;
    const message = error.message.replace(/: run .*$/, '');
    throw new SchemaError(
      `every migration is recorded as applied, but ${message}: apply ${DIRECTORY} again with psql -f`,
    );
  }
}

function ignore(): void {}
