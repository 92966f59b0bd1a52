/**
 * A Postgres of its own with pg_dump, pg_restore and psql that fit it, as an operator has them: those of this machine
 * where they are no older than the server, or else both from apt.
 */
import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { startPostgres } from './postgres.js';
import { root } from './root.js';
import { postgresFromApt } from './servers/apt-postgres.js';
import { findCommand } from './servers/find-binaries.js';
import { startLocalPostgres } from './servers/local-postgres.js';
import type { OwnServer } from './servers/server.js';
import { withClient } from './template.js';

const execute = promisify(execFile);
const debian = '/usr/lib/postgresql';

export interface PostgresTools {
  /** Resolves with what it wrote; rejects with what it complained about. */
  run(tool: 'pg_dump' | 'pg_restore' | 'psql', args: readonly string[], input?: string): Promise<string>;
  /** psql as docs/operations.md calls it: stops at the first error, all or nothing. */
  script(url: string, sql: string): Promise<void>;
}

/** Whoever starts it stops it. */
export async function startPostgresWithTools(): Promise<{ server: OwnServer; tools: PostgresTools }> {
  const server = await startPostgres();
  const directory = await directoryFor(await majorOfServer(server.url));
  if (directory !== undefined) return { server, tools: toolsIn(directory, process.env) };
  await server.stop();
  const recipe = await postgresFromApt(join(root, '.cache'));
  const env = { ...process.env, LD_LIBRARY_PATH: recipe.libraryPath };
  return { server: await startLocalPostgres(recipe), tools: toolsIn(recipe.directory, env) };
}

async function directoryFor(wanted: number): Promise<string | undefined> {
  for (const directory of candidates()) {
    const major = await majorOf(join(directory, 'pg_dump')).catch(() => undefined);
    if (major !== undefined && major >= wanted) return directory;
  }
  return undefined;
}

function candidates(): string[] {
  const onPath = findCommand('pg_dump');
  const directories = onPath === undefined ? [] : [join(onPath, '..')];
  try {
    const versions = readdirSync(debian).sort((a, b) => Number(b) - Number(a));
    return [...directories, ...versions.map((version) => join(debian, version, 'bin'))];
  } catch {
    return directories;
  }
}

async function majorOf(tool: string): Promise<number> {
  const { stdout } = await execute(tool, ['--version']);
  return Number(/\d+/.exec(stdout)?.[0]);
}

async function majorOfServer(url: string): Promise<number> {
  const setting = `select current_setting('server_version_num')::int / 10000 as major`;
  const { rows } = await withClient(url, (client) => client.query<{ major: number }>(setting));
  return rows[0]?.major ?? 0;
}

function toolsIn(directory: string, env: NodeJS.ProcessEnv): PostgresTools {
  const tools: PostgresTools = {
    async run(tool, args, input) {
      const running = execute(join(directory, tool), args, { env, maxBuffer: 2 ** 28 });
      running.child.stdin?.end(input);
      return (await running).stdout;
    },
    async script(url, sql) {
      const settings = ['--no-psqlrc', '--quiet', '--set=ON_ERROR_STOP=1', '--single-transaction'];
      await tools.run('psql', [...settings, `--dbname=${url}`], sql);
    },
  };
  return tools;
}
