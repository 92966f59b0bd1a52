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
      const appliedAt = applied.get(name);
      return { name, ...(appliedAt === undefined ? {} : { appliedAt }) };
    });
    return { migrations, ...(typeof problem === 'string' ? { problem } : {}) };
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

/** When each was applied; none where migrate() never ran. */
async function readApplied(client: pg.ClientBase): Promise<Map<string, Date>> {
  const table = await client.query<{ there: boolean }>(`select to_regclass('${TABLE}') is not null as there`);
  if (table.rows[0]?.there !== true) return new Map();
  const { rows } = await client.query<{ name: string; run_on: Date }>(`select name, run_on from ${TABLE}`);
  return new Map(rows.map(({ name, run_on }) => [name, run_on]));
}
