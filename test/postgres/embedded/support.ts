/**
 * Directories and processes for the tests of the embedded server. Everything made here is ended and removed after each
 * test, the server included, whatever the test left undone.
 */
import { execFile } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import pg from 'pg';
import { afterAll, afterEach, beforeAll } from 'vitest';
import { packagedBinaries } from '../../../src/postgres/embedded/binaries.js';
import type { ServerSettings } from '../../../src/postgres/embedded/server.js';
import { type EmbeddedPostgres, startShared } from '../../../src/postgres/embedded.js';
import { type Child, startChild } from '../../support/processes.js';
import { waitFor } from '../../support/wait.js';

export const isRoot = process.getuid?.() === 0;
const repository = fileURLToPath(new URL('../../..', import.meta.url));

const scratch: string[] = [];
const handles: EmbeddedPostgres[] = [];
const children: Child[] = [];
let build = '';
let template = '';

/** The compiled module, as an installed package has it; processes import it. */
export function builtModule(): string {
  return join(build, 'postgres/embedded.js');
}

beforeAll(async () => {
  build = mkdtempSync(join(repository, 'node_modules/.embedded-test-'));
  const config = {
    extends: join(repository, 'tsconfig.json'),
    compilerOptions: { noEmit: false, rootDir: join(repository, 'src'), outDir: build },
    files: [join(repository, 'src/postgres/embedded.ts')],
    include: [],
  };
  writeFileSync(join(build, 'tsconfig.json'), JSON.stringify(config));
  const tsc = join(repository, 'node_modules/typescript/bin/tsc');
  await promisify(execFile)(process.execPath, [tsc, '-p', build]);
});

/** A cluster to copy: initdb waits for the disk, and only some tests are about it. */
beforeAll(async () => {
  template = mkdtempSync(join(tmpdir(), 'embedded-test-'));
  const { stop } = await startShared(template);
  await stop();
});

afterEach(async () => {
  await Promise.all(children.splice(0).map((child) => child.kill()));
  await Promise.allSettled(handles.splice(0).map((handle) => handle.stop()));
  for (const directory of scratch.splice(0)) {
    for (const cluster of clustersUnder(directory)) {
      const pid = postmasterPid(cluster);
      if (pid !== undefined && isServing(pid)) process.kill(pid, 'SIGKILL');
      if (pid !== undefined) await waitFor(() => !isServing(pid));
    }
    rmSync(directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
  }
});

afterAll(() => {
  for (const directory of [build, template]) rmSync(directory, { recursive: true, force: true });
});

/** A directory that everyone may enter, removed after the test. */
export function makeScratch(): string {
  const directory = mkdtempSync(join(tmpdir(), 'embedded-test-'));
  scratch.push(directory);
  chmodSync(directory, 0o755);
  return directory;
}

/** A directory with a cluster in it that is not running. As root its files are root's, as after a restore. */
export function makeCluster(): string {
  const directory = makeScratch();
  cpSync(join(template, 'data'), join(directory, 'data'), { recursive: true });
  return directory;
}

export async function start(directory: string, settings?: ServerSettings): Promise<EmbeddedPostgres> {
  const handle = await startShared(directory, settings);
  handles.push(handle);
  return handle;
}

/** A process that has loaded the module; `node.mjs` says what it can be asked. */
export async function startNode(): Promise<Child> {
  const child = await startChild(new URL('./node.mjs', import.meta.url), { EMBEDDED_MODULE: builtModule() });
  children.push(child);
  return child;
}

export async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client(url);
  // A server that is ended under it rejects the query as well, which is where a test hears of it.
  const broken: Error[] = [];
  client.on('error', (error) => broken.push(error));
  try {
    await client.connect();
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

/** A copy of the server's package, with the links its postinstall would have made or without. */
export async function copyPackage(directory: string, links: 'with links' | 'without links'): Promise<string> {
  const native = join(directory, 'native');
  cpSync(await packagedBinaries(), native, { recursive: true, verbatimSymlinks: true });
  if (links === 'without links') {
    for (const name of readdirSync(join(native, 'lib'))) {
      const path = join(native, 'lib', name);
      if (lstatSync(path).isSymbolicLink()) rmSync(path);
    }
  }
  return native;
}

export function postmasterPid(directory: string): number | undefined {
  const file = join(directory, 'data/postmaster.pid');
  return existsSync(file) ? Number(readFileSync(file, 'utf8').split('\n')[0]) : undefined;
}

/** Is the process there, and no zombie? */
export function isServing(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
  return process.platform !== 'linux' || !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
}

/** SIGKILL to the server, and waits until it and its workers have let go of the data. */
export async function killServer(directory: string): Promise<void> {
  const pid = postmasterPid(directory);
  if (pid === undefined) throw new Error('no server to kill');
  process.kill(pid, 'SIGKILL');
  await waitFor(() => !isServing(pid));
}

/** A user id of the account table, other than root's. */
export function uidOf(name: string): number | undefined {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith(`${name}:`));
  return line === undefined ? undefined : Number(line.split(':')[2]);
}

function clustersUnder(directory: string): string[] {
  const candidates = [directory, ...readdirSync(directory).map((name) => join(directory, name))];
  return candidates.filter((path) => statSync(path, { throwIfNoEntry: false })?.isDirectory() && postmasterPid(path));
}
