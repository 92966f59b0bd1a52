/**
 * Packages of Debian and Ubuntu without installing anything and without root: apt-get says what this machine lacks for
 * them and downloads it, dpkg-deb unpacks it into a cache directory of the project.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { findCommand } from './find-binaries.js';

const execute = promisify(execFile);

/**
 * `to`, with the packages in it, unpacked once: concurrent callers do the work twice and one result stays, if `check`
 * takes it. `options` for apt-get.
 */
export async function unpackedFromApt(
  to: string,
  wanted: readonly string[],
  check: (root: string) => Promise<void>,
  options: readonly string[] = [],
): Promise<string> {
  if (existsSync(to)) return to;
  if (findCommand('apt-get') === undefined) throw new Error('this machine has no apt-get');
  mkdirSync(dirname(to), { recursive: true });
  const work = mkdtempSync(join(dirname(to), 'fetch-'));
  try {
    await fetchAndUnpack(wanted, work, join(work, 'root'), options);
    await check(join(work, 'root'));
    placeOnce(join(work, 'root'), to);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return to;
}

/** The directories below it that hold shared objects, such as usr/lib/x86_64-linux-gnu: an LD_LIBRARY_PATH. */
export function libraryPath(root: string): string {
  return ['usr/lib', 'lib']
    .map((directory) => join(root, directory))
    .flatMap(libraryDirectories)
    .join(':');
}

async function fetchAndUnpack(
  wanted: readonly string[],
  work: string,
  root: string,
  given: readonly string[],
): Promise<void> {
  const downloads = join(work, 'downloads');
  mkdirSync(downloads);
  try {
    await download(wanted, downloads, given);
  } catch {
    // No package lists, as in most container images, or lists so old that the archive has moved on: fetch our own.
    const options = [...given, ...privateLists(join(work, 'apt'))];
    await execute('apt-get', [...options, 'update']);
    await download(wanted, downloads, options);
  }
  for (const file of readdirSync(downloads).filter((name) => name.endsWith('.deb'))) {
    await execute('dpkg-deb', ['-x', join(downloads, file), root]);
  }
}

async function download(wanted: readonly string[], directory: string, options: readonly string[]): Promise<void> {
  const packages = await missingPackages(wanted, options);
  await execute('apt-get', [...options, ...unsandboxed, 'download', ...packages], { cwd: directory });
}

/** What apt would install, had we asked it to: the solver knows what is here already and what each release calls it. */
async function missingPackages(wanted: readonly string[], options: readonly string[]): Promise<string[]> {
  const simulate = ['--simulate', '--no-install-recommends', 'install', ...wanted];
  const { stdout } = await execute('apt-get', [...options, ...simulate]);
  const named = [...stdout.matchAll(/^Inst (\S+)/gm)].map(([, name]) => name ?? '');
  // Of the rest only libraries matter for running a binary, and never a second C library beside the running one.
  const libraries = named.filter((name) => /^lib/.test(name) && !/^libc6|^libc-/.test(name));
  // clang has nothing in it but the wish for clang-14, or whichever the release has.
  const versions = named.filter((name) => wanted.includes(name.replace(/-\d+$/, '')));
  return [...new Set([...wanted, ...libraries, ...versions])];
}

/** As if nothing were installed: for what half an installation does not help. */
export const fromNothing = ['-o', 'Dir::State::status=/dev/null'];

/** The download goes to a directory of ours, which apt's own unprivileged user could not write to. */
const unsandboxed = ['-o', 'APT::Sandbox::User='];

function privateLists(state: string): string[] {
  const lists = join(state, 'lists');
  const archives = join(state, 'cache');
  mkdirSync(join(lists, 'partial'), { recursive: true });
  mkdirSync(join(archives, 'archives', 'partial'), { recursive: true });
  return [
    ...unsandboxed,
    ...['-o', `Dir::State::lists=${lists}`],
    ...['-o', `Dir::Cache=${archives}`],
    // Hooks such as the one in Docker's images, which empties the system's own cache.
    ...['-o', 'APT::Update::Post-Invoke=', '-o', 'APT::Update::Post-Invoke-Success='],
  ];
}

function libraryDirectories(directory: string): string[] {
  if (!existsSync(directory)) return [];
  const files = readdirSync(directory, { recursive: true, encoding: 'utf8' });
  const holders = files.filter((file) => /\.so(\.|$)/.test(file)).map((file) => join(directory, dirname(file)));
  return [...new Set(holders)];
}

/** A rename is atomic: nobody ever sees half a directory. Who comes second keeps what the first one placed. */
function placeOnce(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if (!existsSync(to)) throw error;
  }
}
