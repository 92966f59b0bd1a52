/** pg_dump, pg_restore and psql, as an operator runs them: of this machine, and no older than the server. */
import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findCommand } from './servers/find-binaries.js';
import { withClient } from './template.js';

const execute = promisify(execFile);
const debian = '/usr/lib/postgresql';

export interface PostgresTools {
  /** Resolves with what it wrote; rejects with what it complained about. */
  run(tool: 'pg_dump' | 'pg_restore' | 'psql', args: readonly string[], input?: string): Promise<string>;
  /** psql as docs/operations.md calls it: stops at the first error, all or nothing. */
  script(url: string, sql: string): Promise<void>;
}

/** Rejects where there are none, or only such as pg_dump would refuse to use on the server at `url`. */
export async function postgresTools(url: string): Promise<PostgresTools> {
  const wanted = await majorOfServer(url);
  const found: string[] = [];
  for (const directory of candidates()) {
    const major = await majorOf(join(directory, 'pg_dump')).catch(() => undefined);
    if (major !== undefined && major >= wanted) return toolsIn(directory);
    if (major !== undefined) found.push(`${major} in ${directory}`);
  }
  throw new Error(
    `The tests of backups need pg_dump, pg_restore and psql of Postgres ${wanted} or newer, on PATH or under ` +
      `${debian}/*/bin, and found ${found.join(', ') || 'none'}: install postgresql-client`,
  );
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

function toolsIn(directory: string): PostgresTools {
  const tools: PostgresTools = {
    async run(tool, args, input) {
      const running = execute(join(directory, tool), args, { maxBuffer: 2 ** 28 });
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
