/**
 * The server's process: what its own `postmaster.pid` says of it, whether that is still true, and how it is ended.
 */
import { readFile, rm, rmdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { StorageUnavailableError } from '../../errors.js';
import { type Cluster, clusterPassword, SUPERUSER } from './cluster.js';
import { statIfAny } from './files.js';
import { runTool } from './tool.js';

/** How `pg` reaches the server. */
export interface Address {
  host: string;
  port: number;
  user: string;
  password?: string;
  database: string;
  /** Said, so that a PGSSLMODE of the environment does not ask a socket for TLS. */
  ssl: false;
}

export interface Postmaster {
  readonly pid: number;
  readonly port: number;
  readonly socketDirectory: string;
}

/** Name of a socket directory that had no room under the cluster's own. */
export const SHORT_SOCKET = 'lora-store-';
const FAST_MS = 60_000;
const IMMEDIATE_MS = 10_000;

/** The server that `postmaster.pid` tells of, alive or not; undefined: none. */
export async function readPostmaster(cluster: Cluster): Promise<Postmaster | undefined> {
  const file = join(cluster.data, 'postmaster.pid');
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  const [pid, , , port, socketDirectory] = text.split('\n');
  // A server that has just begun has written its pid and not yet its port.
  return pid ? { pid: Number(pid), port: Number(port ?? 0), socketDirectory: socketDirectory ?? '' } : undefined;
}

export async function addressOf(cluster: Cluster, postmaster: Postmaster): Promise<Address> {
  const password = await clusterPassword(cluster);
  const common = { port: postmaster.port, user: SUPERUSER, database: 'postgres', ssl: false } as const;
  return password === undefined
    ? { ...common, host: postmaster.socketDirectory }
    : { ...common, host: '127.0.0.1', password };
}

/**
 * Is that process the cluster's server? Its number alone says little: after a kill, or in a container that was started
 * again, it soon belongs to somebody else. A postmaster's working directory is its data directory.
 */
export async function isPostmaster(cluster: Cluster, pid: number): Promise<boolean> {
  if (process.platform === 'linux') {
    const [cwd, data] = await Promise.all([statIfReadable(`/proc/${pid}/cwd`), statIfAny(cluster.data)]);
    return cwd !== undefined && cwd.ino === data?.ino && cwd.dev === data.dev;
  }
  if (!isAlive(pid)) return false;
  if (process.platform === 'win32') return true;
  const { output } = await runTool('ps', ['-o', 'command=', '-p', String(pid)], undefined);
  return output.includes(cluster.data);
}

/** Ends the server and returns once its process is gone; sessions are cut, commits are kept. */
export async function stopPostmaster(cluster: Cluster, pgCtl: () => Promise<string>): Promise<void> {
  const postmaster = await readPostmaster(cluster);
  if (postmaster === undefined || !(await isPostmaster(cluster, postmaster.pid))) return;
  const gone = (limitMs: number) => until(async () => !(await isPostmaster(cluster, postmaster.pid)), limitMs);
  if (process.platform === 'win32') {
    await runTool(await pgCtl(), ['stop', '-D', cluster.data, '-m', 'fast', '-w'], undefined);
  } else {
    signal(postmaster.pid, 'SIGINT');
  }
  if (!(await gone(FAST_MS))) {
    // A checkpoint that does not end. Without it the next start replays the log, and nothing committed is lost.
    signal(postmaster.pid, 'SIGQUIT');
    if (!(await gone(IMMEDIATE_MS))) {
      throw new StorageUnavailableError(`Postgres in ${cluster.directory} (pid ${postmaster.pid}) does not stop`);
    }
  }
  await removeShortSocket(postmaster);
}

/** Removes the socket directory of a server that is no more, if it lies outside the cluster's directory. */
export async function removeShortSocket(postmaster: Postmaster): Promise<void> {
  const { socketDirectory, port } = postmaster;
  if (!basename(socketDirectory).startsWith(SHORT_SOCKET)) return;
  // Only what a server leaves there, file by file: the path is read out of a file that others may have written.
  for (const name of [`.s.PGSQL.${port}`, `.s.PGSQL.${port}.lock`])
    await rm(join(socketDirectory, name), { force: true });
  await rmdir(socketDirectory).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT' && error.code !== 'ENOTEMPTY') throw error;
  });
}

/** Polls until it is so; false when the time is up. */
async function until(isSo: () => Promise<boolean>, limitMs: number): Promise<boolean> {
  const end = performance.now() + limitMs;
  while (!(await isSo())) {
    if (performance.now() > end) return false;
    await delay(20);
  }
  return true;
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** undefined also for a process of another user, which cannot be our server then. */
async function statIfReadable(path: string) {
  return stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'EACCES' || error.code === 'EPERM' || error.code === 'ESRCH')
      return undefined;
    throw error;
  });
}
