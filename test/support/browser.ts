/**
 * A Chromium for tests that look at a page: the one that is installed, or Debian's headless shell, unpacked from apt into
 * .cache without root. Who opens one closes it.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Browser, chromium } from 'playwright-core';
import { libraryPath, unpackedFromApt } from './servers/apt.js';
import { findCommand } from './servers/find-binaries.js';

const execute = promisify(execFile);

const projectCache = fileURLToPath(new URL('../../.cache', import.meta.url));

export interface Executable {
  readonly path: string;
  /** Directories of shared objects that the machine lacks. */
  readonly libraryPath?: string;
}

export async function openBrowser(): Promise<Browser> {
  return launch(findChromium() ?? (await chromiumFromApt(projectCache)));
}

export function launch({ path, libraryPath }: Executable): Promise<Browser> {
  return chromium.launch({
    executablePath: path,
    // A container's root may make no user namespaces, so no sandbox. The page is our own, and it asks no network.
    chromiumSandbox: false,
    args: ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-sync'],
    env: environment(libraryPath),
  });
}

function findChromium(): Executable | undefined {
  const path = ['chromium', 'chromium-headless-shell', 'google-chrome'].map(findCommand).find(Boolean);
  return path === undefined ? undefined : { path };
}

/** Unpacked once per cache directory. */
export async function chromiumFromApt(cache: string): Promise<Executable> {
  const wanted = ['chromium-headless-shell', 'chromium-common'];
  const root = await unpackedFromApt(join(cache, 'chromium'), wanted, (unpacked) => check(executableIn(unpacked)));
  return executableIn(root);
}

function executableIn(root: string): Executable {
  // Not the wrapper in usr/bin: it looks for the program where apt would have installed it.
  return { path: join(root, 'usr/lib/chromium/chromium-headless-shell'), libraryPath: libraryPath(root) };
}

async function check({ path, libraryPath }: Executable): Promise<void> {
  try {
    await execute(path, ['--version'], { env: environment(libraryPath) });
  } catch (error) {
    throw new Error(`${path} was unpacked and does not run`, { cause: error });
  }
}

function environment(libraryPath: string | undefined): Record<string, string> {
  const { PATH = '', HOME = '' } = process.env;
  return { PATH, HOME, ...(libraryPath === undefined ? {} : { LD_LIBRARY_PATH: libraryPath }) };
}
