/**
 * A redis-server on Debian and Ubuntu without installing anything and without root: apt-get says which packages this
 * machine lacks for it and downloads them, dpkg-deb unpacks them into a cache directory of the project, and the
 * dynamic linker is told where their libraries are.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { findCommand } from './find-binaries.js';
import type { BinaryRecipe } from './server.js';

const execute = promisify(execFile);

/** redis-server brings the service and its defaults, redis-tools the binary. */
const wanted = ['redis-server', 'redis-tools'];

/** Unpacked once per cache directory; concurrent callers do the work twice and one result stays. */
export async function redisFromApt(cache: string): Promise<BinaryRecipe> {
  const unpacked = join(cache, 'redis');
  if (!existsSync(unpacked)) {
    if (findCommand('apt-get') === undefined) throw new Error('this machine has no apt-get');
    mkdirSync(cache, { recursive: true });
    const work = mkdtempSync(join(cache, 'fetch-'));
    try {
      await fetchAndUnpack(work, join(work, 'root'));
      await check(recipeIn(join(work, 'root')));
      placeOnce(join(work, 'root'), unpacked);
    } finally {
      rmSync(work, { recursive: true, force: true });
    }
  }
  const recipe = recipeIn(unpacked);
  await check(recipe);
  return recipe;
}

async function fetchAndUnpack(work: string, root: string): Promise<void> {
  const downloads = join(work, 'downloads');
  mkdirSync(downloads);
  try {
    await download(downloads, []);
  } catch {
    // No package lists, as in most container images, or lists so old that the archive has moved on: fetch our own.
    const options = privateLists(join(work, 'apt'));
    await execute('apt-get', [...options, 'update']);
    await download(downloads, options);
  }
  for (const file of readdirSync(downloads).filter((name) => name.endsWith('.deb'))) {
    await execute('dpkg-deb', ['-x', join(downloads, file), root]);
  }
}

async function download(directory: string, options: readonly string[]): Promise<void> {
  const packages = await missingPackages(options);
  await execute('apt-get', [...options, ...unsandboxed, 'download', ...packages], { cwd: directory });
}

/** What apt would install, had we asked it to: the solver knows what is here already and what each release calls it. */
async function missingPackages(options: readonly string[]): Promise<string[]> {
  const simulate = ['--simulate', '--no-install-recommends', 'install', ...wanted];
  const { stdout } = await execute('apt-get', [...options, ...simulate]);
  const named = [...stdout.matchAll(/^Inst (\S+)/gm)].map(([, name]) => name ?? '');
  // Of the rest only libraries matter for running the binary, and never a second C library beside the running one.
  const libraries = named.filter((name) => /^lib/.test(name) && !/^libc6|^libc-/.test(name));
  return [...new Set([...wanted, ...libraries])];
}

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

function recipeIn(root: string): BinaryRecipe {
  const libraries = ['usr/lib', 'lib'].map((directory) => join(root, directory)).flatMap(libraryDirectories);
  return {
    kind: 'binary',
    directory: join(root, 'usr/bin'),
    executable: 'redis-server',
    libraryPath: libraries.join(':'),
  };
}

/** The directory itself and those below it that hold shared objects, such as x86_64-linux-gnu. */
function libraryDirectories(directory: string): string[] {
  if (!existsSync(directory)) return [];
  const files = readdirSync(directory, { recursive: true, encoding: 'utf8' });
  const holders = files.filter((file) => /\.so(\.|$)/.test(file)).map((file) => join(directory, dirname(file)));
  return [...new Set(holders)];
}

async function check({ directory, executable, libraryPath }: BinaryRecipe): Promise<void> {
  const binary = join(directory, executable);
  try {
    await execute(binary, ['--version'], { env: { LD_LIBRARY_PATH: libraryPath } });
  } catch (error) {
    throw new Error(`${binary} was unpacked and does not run`, { cause: error });
  }
}

/** A rename is atomic: nobody ever sees half a directory. Who comes second keeps what the first one placed. */
function placeOnce(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if (!existsSync(to)) throw error;
  }
}
