/**
 * The template database: made once a run with every migration applied, cloned for each test file. A clone takes a few
 * hundredths of a second, and two test files never see each other's rows.
 */
import { inspect } from 'node:util';
import pg from 'pg';
import { databaseName } from './names.js';

/** The same server, login and options, another database. */
export function urlOfDatabase(url: string, database: string): string {
  const other = new URL(url);
  other.pathname = `/${database}`;
  return other.toString();
}

/** For statements such as CREATE DATABASE, which need a connection outside any transaction. */
export async function withClient<Result>(url: string, use: (client: pg.Client) => Promise<Result>): Promise<Result> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

/**
 * `failure`: why the migrations did not apply. It fails the test files that need the schema; the others, first of all
 * those of the migrations, run and say more about it.
 */
export interface Template {
  readonly name: string;
  readonly failure?: string;
}

export async function createTemplate(adminUrl: string, run: string): Promise<Template> {
  const name = databaseName(run, 'template');
  await withClient(adminUrl, (client) => client.query(`CREATE DATABASE ${name} TEMPLATE template0 ENCODING 'UTF8'`));
  try {
    // Loaded here and not above: a module that does not even load is a failure of the migrations, too.
    const { migrate } = await import('../../src/postgres/migrate.js');
    await migrate({ postgres: urlOfDatabase(adminUrl, name) });
  } catch (error) {
    return { name, failure: inspect(error) };
  }
  // A database in use cannot be cloned: nobody gets to use this one.
  await withClient(adminUrl, (client) => client.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS false`));
  return { name };
}

/** Removes every database of the run from a server that stays: the template and what test files forgot. */
export async function dropDatabasesOf(adminUrl: string, run: string): Promise<void> {
  await withClient(adminUrl, async (client) => {
    const { rows } = await client.query<{ datname: string }>(
      'SELECT datname FROM pg_database WHERE starts_with(datname, $1)',
      [databaseName(run, '')],
    );
    for (const { datname } of rows) await client.query(`DROP DATABASE IF EXISTS ${datname} WITH (FORCE)`);
  });
}
