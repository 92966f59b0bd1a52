/**
 * Other Nodes than the one that runs the tests, and one of another CPU: their binaries are packages of the npm registry,
 * qemu and the C library of that CPU are Debian's. Unpacked into .cache once.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { root } from './root.js';
import { libraryPath, unpackedFromApt } from './servers/apt.js';

const execute = promisify(execFile);
const cache = join(root, '.cache');

/** How a Node is started: the command and its first arguments. */
export type Command = readonly [string, ...string[]];

/** Node of this version, as the registry has it for Linux. */
export async function nodeOf(version: string, arch: 'x64' | 'arm64' = 'x64'): Promise<Command> {
  const unpacked = await unpackedFromNpm(`node-linux-${arch}@${version}`);
  return [join(unpacked, 'bin/node')];
}

/** Node for arm64, emulated. */
export async function emulatedNode(version: string): Promise<Command> {
  const packages = ['qemu-user', 'libc6-arm64-cross', 'libstdc++6-arm64-cross', 'libgcc-s1-arm64-cross'];
  const unpacked = await unpackedFromApt(join(cache, 'qemu-arm64'), packages, async (at) => {
    const [qemu, ...args] = qemuIn(at);
    await execute(qemu, [...args, '-version']);
  });
  return [...qemuIn(unpacked), ...(await nodeOf(version, 'arm64'))];
}

/** Its own libraries are for it alone, and those of the other CPU for what it runs. */
function qemuIn(unpacked: string): Command {
  const environment = `LD_LIBRARY_PATH=${libraryPath(unpacked)}`;
  const guest = ['-U', 'LD_LIBRARY_PATH', '-L', join(unpacked, 'usr/aarch64-linux-gnu')];
  return ['/usr/bin/env', environment, join(unpacked, 'usr/bin/qemu-aarch64'), ...guest];
}

/** The files of a package that needs no other. */
export async function unpackedFromNpm(specifier: string): Promise<string> {
  const to = join(cache, specifier);
  if (existsSync(to)) return to;
  mkdirSync(cache, { recursive: true });
  const work = mkdtempSync(join(cache, 'fetch-'));
  try {
    const { stdout } = await execute('npm', ['pack', '--silent', '--pack-destination', work, specifier]);
    mkdirSync(join(work, 'unpacked'));
    await execute('tar', ['-xzf', join(work, stdout.trim()), '--strip-components=1', '-C', join(work, 'unpacked')]);
    renameSync(join(work, 'unpacked'), to);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return to;
}
