/** How far a database has come: which migrations ran in it, and whether the schema is that of this version. */
import { readdirSync } from 'node:fs';
import type pg from 'pg';
import { SchemaError, StorageUnavailableError } from '../errors.js';
import { sqlState } from './failure.js';
import { connect, rowsOf, unreachable } from './lone-client.js';
import { DIRECTORY, type MigrateOptions, parse, TABLE } from './migrate.js';
import { checkSchema } from './schema.js';

export interface MigrationStatus {
  /** In the order they run in. appliedAt: absent where it was not applied by migrate(). */
  readonly migrations: readonly { readonly name: string; readonly appliedAt?: Date }[];
  /** false: this role may not read which were applied, and none has an appliedAt. */
  readonly recorded: boolean;
  /** What this version needs and does not find, and the command that mends it. */
  readonly problem?: string;
}

/** What migrate() would find. Changes nothing. */
export async function migrationStatus(options: Pick<MigrateOptions, 'postgres'> = {}): Promise<MigrationStatus> {
  const { client, where, release } = await connect(parse(options).source);
  let broken = false;
  try {
    const applied = await readApplied(client);
    const problem = await checkSchema(rowsOf(client)).catch((error: unknown) => {
      if (error instanceof SchemaError) return error.message;
      throw error;
    });
    const migrations = migrationNames().map((name) => {
      const appliedAt = applied?.get(name);
      return { name, ...(appliedAt === undefined ? {} : { appliedAt }) };
    });
    return { migrations, recorded: applied !== undefined, ...(typeof problem === 'string' ? { problem } : {}) };
  } catch (error) {
    broken = sqlState(error) === undefined;
    throw broken
      ? unreachable(error, where)
      : new StorageUnavailableError(`Postgres refused: ${error}`, { cause: error });
  } finally {
    await release(broken);
  }
}

/** Of the files, such as '001_users', in order. */
function migrationNames(): string[] {
  const suffix = '.up.sql';
  return readdirSync(DIRECTORY)
    .filter((file) => file.endsWith(suffix))
    .map((file) => file.slice(0, -suffix.length))
    .sort();
}

/** When each was applied; none where migrate() never ran, and undefined where this role may not know. */
async function readApplied(client: pg.ClientBase): Promise<Map<string, Date> | undefined> {
  const table = await client.query<{ readable: boolean | null }>(
    `select has_table_privilege(to_regclass('${TABLE}'), 'select') as readable`,
  );
  const [{ readable } = { readable: null }] = table.rows;
  if (readable === null) return new Map();
  if (!readable) return undefined;
  const { rows } = await client.query<{ name: string; run_on: Date }>(`select name, run_on from ${TABLE}`);
  return new Map(rows.map(({ name, run_on }) => [name, run_on]));
}
