/**
 * From a directory to a server that answers, started here or found running, and back.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { StorageUnavailableError } from '../../errors.js';
import { type Binaries, packagedBinaries, sweepCopies, usableBinaries } from './binaries.js';
import { type Cluster, ensureCluster, type Transport, unusable } from './cluster.js';
import { Hold } from './hold.js';
import { type Launched, launch } from './launch.js';
import {
  type Address,
  addressOf,
  isAlive,
  isPostmaster,
  type Postmaster,
  readPostmaster,
  removeShortSocket,
  stopPostmaster,
} from './postmaster.js';

export const DATABASE = 'lora_store';
const START_MS = 60_000;
const RETRY_MS = 50;

export interface ServerSettings {
  /** Directory with bin, lib and share. Default: that of the installed package. */
  readonly native?: string;
  /** Of a cluster that is made now; one that exists keeps its own. */
  readonly transport?: Transport;
}

export interface Server {
  readonly address: Address;
  readonly adopted: boolean;
  /** Leaves the server, and ends it if nobody else uses it. */
  leave(): Promise<void>;
}

/** Joins the server of that cluster; starts one if there is none. */
export async function joinServer(cluster: Cluster, settings: ServerSettings = {}): Promise<Server> {
  try {
    const { hold, startedHere } = await find(cluster, settings);
    const leave = () => hold.leave(() => stopPostmaster(cluster, () => pgCtl(cluster, settings)));
    try {
      return { address: await serve(cluster, hold), adopted: !startedHere, leave };
    } catch (error) {
      await leave();
      throw error;
    }
  } catch (error) {
    throw unusable(cluster.directory, error);
  }
}

async function serve(cluster: Cluster, hold: Hold): Promise<Address> {
  await ensureDatabase(hold);
  const postmaster = await readPostmaster(cluster);
  if (postmaster === undefined) throw new StorageUnavailableError(`Postgres in ${cluster.directory} ended`);
  hold.unref();
  return { ...(await addressOf(cluster, postmaster)), database: DATABASE };
}

/** Two that start at once both come through here: one launches, the other fails to and adopts on its next turn. */
async function find(cluster: Cluster, settings: ServerSettings): Promise<Launched> {
  const deadline = performance.now() + START_MS;
  for (;;) {
    const postmaster = await readPostmaster(cluster);
    const hold = postmaster && (await adopt(cluster, postmaster, deadline));
    if (hold) return { hold, startedHere: false };
    if (!postmaster || !(await isPostmaster(cluster, postmaster.pid))) {
      const launched = await launchAnew(cluster, settings, postmaster);
      if (launched) return launched;
    }
    if (performance.now() > deadline) {
      throw new StorageUnavailableError(
        `Postgres in ${cluster.directory} neither starts nor answers; see ${cluster.log}`,
      );
    }
    await delay(RETRY_MS);
  }
}

/** undefined: the server named there is gone, going, or not up yet. */
async function adopt(cluster: Cluster, postmaster: Postmaster, deadline: number): Promise<Hold | undefined> {
  try {
    return await Hold.take(cluster, await addressOf(cluster, postmaster));
  } catch (cause) {
    const running = await isPostmaster(cluster, postmaster.pid);
    if (!running || performance.now() < deadline) return undefined;
    const message = `Postgres in ${cluster.directory} (pid ${postmaster.pid}) runs and does not let us in`;
    throw new StorageUnavailableError(message, { cause });
  }
}

async function launchAnew(
  cluster: Cluster,
  settings: ServerSettings,
  stale: Postmaster | undefined,
): Promise<Launched | undefined> {
  const binaries = await programs(cluster, settings);
  await ensureCluster(cluster, binaries, settings.transport ?? (process.platform === 'win32' ? 'loopback' : 'socket'));
  // A copied directory names the socket of the original, whose server may well be alive.
  if (stale !== undefined && !isAlive(stale.pid)) await removeShortSocket(stale);
  await sweepCopies(cluster.directory, binaries);
  return launch(cluster, binaries, stale?.pid);
}

async function pgCtl(cluster: Cluster, settings: ServerSettings): Promise<string> {
  return (await programs(cluster, settings)).pgCtl;
}

async function programs(cluster: Cluster, settings: ServerSettings): Promise<Binaries> {
  const native = settings.native ?? (await packagedBinaries());
  return usableBinaries(native, cluster.directory, cluster.account);
}

async function ensureDatabase(hold: Hold): Promise<void> {
  const { rows } = await hold.query(`select 1 from pg_database where datname = '${DATABASE}'`);
  if (rows.length > 0) return;
  await hold.query(`create database ${DATABASE}`).catch((error: { code?: string }) => {
    // Another process had the same thought: by its catalog check, or by the unique index a moment later.
    if (error.code !== '42P04' && error.code !== '23505') throw error;
  });
}
