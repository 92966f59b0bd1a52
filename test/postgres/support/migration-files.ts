/** The files of migrations/, applied without the package: as psql does, and as one simple query. */
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { findCommand } from '../../support/servers/find-binaries.js';
import { withClient } from '../../support/template.js';

const directory = new URL('../../../migrations/', import.meta.url);

/** Paths of the up files in order, of the down files in reverse. */
export function migrationFiles(direction: 'up' | 'down'): string[] {
  const files = readdirSync(fileURLToPath(directory)).filter((name) => name.endsWith(`.${direction}.sql`));
  const ordered = direction === 'up' ? files.sort() : files.sort().reverse();
  return ordered.map((name) => fileURLToPath(new URL(name, directory)));
}

export type Apply = (url: string, file: string) => Promise<unknown>;

async function bySimpleQuery(url: string, file: string): Promise<void> {
  await withClient(url, (client) => client.query(readFileSync(file, 'utf8')));
}

/** Everything a machine has to apply a file with. psql commits statement by statement; it comes with a real Postgres only. */
export function waysToApply(): [how: string, apply: Apply][] {
  const ways: [string, Apply][] = [['one simple query', bySimpleQuery]];
  const psql = findCommand('psql');
  if (psql !== undefined) {
    const run = promisify(execFile);
    ways.push(['psql -f', (url, file) => run(psql, ['-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', file, url])]);
  }
  return ways;
}

/** Those whose names begin with one of `numbers`, such as '002'; all by default. */
export async function applyFiles(
  url: string,
  direction: 'up' | 'down',
  numbers: readonly string[] = ['00'],
  apply: Apply = bySimpleQuery,
): Promise<void> {
  for (const file of migrationFiles(direction)) {
    const name = file.slice(fileURLToPath(directory).length);
    if (numbers.some((number) => name.startsWith(number))) await apply(url, file);
  }
}
