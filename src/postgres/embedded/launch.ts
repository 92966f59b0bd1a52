/**
 * Starts the server's process and waits until it answers. It is in no way tied to this process: Ctrl-C in the terminal
 * must not stop the database before the program has saved its last adapter, and its log must not break with our stderr.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { chmod, chown, type FileHandle, mkdir, mkdtemp, open } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { StorageUnavailableError } from '../../errors.js';
import { identity } from './account.js';
import type { Binaries } from './binaries.js';
import { type Cluster, clusterPassword } from './cluster.js';
import { Hold } from './hold.js';
import { addressOf, type Postmaster, readPostmaster, removeShortSocket, SHORT_SOCKET } from './postmaster.js';
import { neutralDirectory, serverEnvironment } from './tool.js';

/** sun_path is 104 bytes on macOS and 108 on Linux, with a zero at the end; Node cuts a longer one silently. */
const SOCKET_PATH_BYTES = 103;
const SOCKET_PORT = 5432;
const START_MS = 60_000;
const POLL_MS = 25;
/** A server that ends in peace was told to. */
const STOPPED = 'it was stopped';
/** Said by a server that found another one here, or its port taken meanwhile. */
const LOST_RACE = /lock file ".*" (already exists|is empty)|pre-existing shared memory block|Address already in use/;

export interface Launched {
  readonly hold: Hold;
  /** False when the server that answers is one that another process started meanwhile. */
  readonly startedHere: boolean;
}

/**
 * Returns a hold on the server once it answers, or undefined when another process was faster and it does not answer yet.
 * `stalePid` stands in a postmaster.pid and is known to be no postmaster.
 */
export async function launch(
  cluster: Cluster,
  binaries: Binaries,
  stalePid: number | undefined,
): Promise<Launched | undefined> {
  const listen = await listenAddress(cluster);
  const log = await openLog(cluster);
  try {
    const from = (await log.stat()).size;
    const server = start(cluster, binaries, listen, stalePid, log);
    const failed = new Promise<string>((resolve) => {
      server.once('error', (error) => resolve(error.message));
      server.once('exit', (code, signal) =>
        resolve(code === 0 ? STOPPED : `it ended with ${signal ?? `code ${code}`}`),
      );
    });
    const answer = await answering(cluster, listen, failed);
    if (answer instanceof Hold) {
      const startedHere = (await readPostmaster(cluster))?.pid === server.pid;
      if (!startedHere) await removeShortSocket(listen);
      return { hold: answer, startedHere };
    }
    if (answer.ended) await removeShortSocket(listen);
    const said = await readFrom(log, from);
    // Or it was up, another process adopted it and, the only one so far, stopped it again before we were in.
    if (answer.ended && (LOST_RACE.test(said) || answer.reason === STOPPED)) return undefined;
    // One that replays its log after a crash is left to it: killed here, it would begin anew at every start.
    if (!answer.ended && !answer.recovering) server.kill('SIGQUIT');
    throw new StorageUnavailableError(
      `Postgres in ${cluster.directory} did not start: ${answer.reason}; see ${cluster.log}`,
      {
        cause: new Error(said.trim().split('\n').slice(-20).join('\n') || 'it said nothing'),
      },
    );
  } finally {
    await log.close();
  }
}

interface NoAnswer {
  readonly reason: string;
  readonly ended: boolean;
  readonly recovering: boolean;
}

async function answering(cluster: Cluster, listen: Postmaster, failed: Promise<string>): Promise<Hold | NoAnswer> {
  const deadline = performance.now() + START_MS;
  const address = await addressOf(cluster, listen);
  let ended: string | undefined;
  failed.then((reason) => {
    ended = reason;
  });
  for (;;) {
    const attempt: Hold | { code?: string; message: string } = await Hold.take(cluster, address).catch(
      (error) => error,
    );
    if (attempt instanceof Hold) return attempt;
    const recovering = attempt.code === '57P03';
    if (ended !== undefined) return { reason: ended, ended: true, recovering };
    if (performance.now() > deadline) {
      const reason = recovering ? 'it is still recovering, and goes on; try again later' : attempt.message;
      return { reason, ended: false, recovering };
    }
    await Promise.race([failed, delay(POLL_MS)]);
  }
}

function start(
  cluster: Cluster,
  binaries: Binaries,
  listen: Postmaster,
  stalePid: number | undefined,
  log: FileHandle,
): ChildProcess {
  // On the command line, so that they hold whatever postgresql.conf says; everything else is the owner's to change.
  const overTcp = listen.socketDirectory === '';
  const settings = [
    `listen_addresses=${overTcp ? '127.0.0.1' : ''}`,
    `unix_socket_directories=${quoted(listen.socketDirectory)}`,
    'unix_socket_permissions=0700',
    'logging_collector=off',
    'log_destination=stderr',
    'lc_messages=C',
  ];
  const args = ['-D', cluster.data, '-p', String(listen.port), ...settings.flatMap((setting) => ['-c', setting])];
  // Postgres takes a process number left by a dead server for a live one if a process of the same user bears it now.
  // What pg_ctl says of its own parent says here that this one is none: the removal stays Postgres', and free of races.
  const excused = stalePid === undefined ? {} : { PG_GRANDPARENT_PID: String(stalePid) };
  try {
    const server = spawn(binaries.postgres, args, {
      ...identity(cluster.account),
      cwd: neutralDirectory(),
      env: { ...serverEnvironment(), ...excused },
      stdio: ['ignore', log.fd, log.fd],
      detached: true,
      windowsHide: true,
    });
    server.unref();
    return server;
  } catch (cause) {
    const message = `Postgres in ${cluster.directory} did not start: ${(cause as Error).message}`;
    throw new StorageUnavailableError(message, { cause });
  }
}

/** Where a server started now shall listen. */
async function listenAddress(cluster: Cluster): Promise<Postmaster> {
  if ((await clusterPassword(cluster)) !== undefined) {
    return { pid: 0, port: await freePort(), socketDirectory: '' };
  }
  return { pid: 0, port: SOCKET_PORT, socketDirectory: await socketDirectory(cluster) };
}

async function socketDirectory(cluster: Cluster): Promise<string> {
  const own = join(cluster.directory, 'socket');
  const fits = (path: string) => Buffer.byteLength(join(path, `.s.PGSQL.${SOCKET_PORT}`)) <= SOCKET_PATH_BYTES;
  let directory = own;
  if (fits(own)) {
    await mkdir(own, { recursive: true, mode: 0o700 });
  } else {
    const short = [tmpdir(), '/tmp'].find((path) => fits(join(path, `${SHORT_SOCKET}XXXXXX`)));
    // mkdtemp's random name cannot be taken in advance by somebody else.
    directory = await mkdtemp(join(short ?? '/tmp', SHORT_SOCKET));
  }
  await chmod(directory, 0o700);
  if (cluster.account !== undefined) await chown(directory, cluster.account.uid, cluster.account.gid);
  return directory;
}

async function openLog(cluster: Cluster): Promise<FileHandle> {
  // The directory belongs to the server's account; a link it may have put there must not lead root elsewhere.
  const { O_APPEND, O_CREAT, O_RDWR, O_NOFOLLOW = 0 } = constants;
  const log = await open(cluster.log, O_APPEND | O_CREAT | O_RDWR | O_NOFOLLOW, 0o600);
  if (cluster.account !== undefined) await log.chown(cluster.account.uid, cluster.account.gid);
  return log;
}

async function readFrom(log: FileHandle, from: number): Promise<string> {
  const size = (await log.stat()).size - from;
  const { buffer, bytesRead } = await log.read(Buffer.alloc(size), 0, size, from);
  return buffer.toString('utf8', 0, bytesRead);
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve, reject) => {
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', resolve);
  });
  const address = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  if (address === null || typeof address === 'string') throw new StorageUnavailableError('no free port on 127.0.0.1');
  return address.port;
}

/** unix_socket_directories is a list: a path with a comma or a space in it needs quotes. */
function quoted(path: string): string {
  return path === '' ? '' : `"${path.replaceAll('"', '""')}"`;
}
