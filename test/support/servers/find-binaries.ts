/** Server executables that are installed on this machine, on PATH or where Debian keeps them. */
import { accessSync, constants, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { BinaryRecipe } from './server.js';

const debianPostgres = '/usr/lib/postgresql';

export function findPostgres(): BinaryRecipe | undefined {
  const directory = [...pathDirectories(), ...debianPostgresDirectories()].find(
    (candidate) => isExecutable(candidate, 'initdb') && isExecutable(candidate, 'postgres'),
  );
  return directory === undefined ? undefined : { kind: 'binary', directory, executable: 'postgres' };
}

/** The directory of psql. */
export function findPsql(): string | undefined {
  return [...pathDirectories(), ...debianPostgresDirectories()].find((candidate) => isExecutable(candidate, 'psql'));
}

export function findRedis(directories: readonly string[] = pathDirectories()): BinaryRecipe | undefined {
  for (const executable of ['redis-server', 'valkey-server']) {
    const directory = directories.find((candidate) => isExecutable(candidate, executable));
    if (directory !== undefined) return { kind: 'binary', directory, executable };
  }
  return undefined;
}

/** On PATH, or undefined. */
export function findCommand(name: string): string | undefined {
  const directory = pathDirectories().find((candidate) => isExecutable(candidate, name));
  return directory === undefined ? undefined : join(directory, name);
}

function pathDirectories(): string[] {
  return (process.env.PATH ?? '').split(delimiter).filter((directory) => directory !== '');
}

/** Newest major version first. */
function debianPostgresDirectories(): string[] {
  try {
    return readdirSync(debianPostgres)
      .filter((version) => /^\d+$/.test(version))
      .sort((a, b) => Number(b) - Number(a))
      .map((version) => join(debianPostgres, version, 'bin'));
  } catch {
    return [];
  }
}

function isExecutable(directory: string, name: string): boolean {
  try {
    accessSync(join(directory, name), constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
