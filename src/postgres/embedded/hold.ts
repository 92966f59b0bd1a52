/**
 * Who uses the server is counted by the server: every process keeps one session with a shared advisory lock. The one
 * that leaves and then gets the lock for itself alone is the last, and ends the server; a newcomer waits meanwhile,
 * loses its session with the server, and starts anew. A killed process loses its session and with it its vote, so there
 * are no owner files to go stale, and threads and containers count as processes do.
 */
import { stat } from 'node:fs/promises';
import { Socket } from 'node:net';
import pg from 'pg';
import { StorageUnavailableError } from '../../errors.js';
import type { Cluster } from './cluster.js';
import { statIfAny } from './files.js';
import { type Address, addressOf, isPostmaster, readPostmaster } from './postmaster.js';

/** 'lora', as a number; the lock lives in database `postgres`, where nobody else locks anything. */
const LOCK = 0x6c_6f_72_61;
const CONNECT_MS = 2_000;
/** Longer than a newcomer waits for a server that is being stopped. */
const STATEMENT_MS = 90_000;
const RETAKE_MS = 200;

interface Session {
  readonly client: pg.Client;
  readonly socket: Socket;
}

export class Hold {
  readonly #cluster: Cluster;
  #session: Session | undefined;
  #retaking: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #serverGone = false;
  #lastError: unknown;
  #left = false;

  private constructor(cluster: Cluster, session: Session) {
    this.#cluster = cluster;
    this.#adopt(session);
  }

  /** Rejects when no server answers there, or one that serves another directory. */
  static async take(cluster: Cluster, address: Address): Promise<Hold> {
    return new Hold(cluster, await openSession(cluster, address));
  }

  /** From here on the session does not keep the program alive. */
  unref(): void {
    this.#session?.socket.unref();
  }

  async query(sql: string): Promise<pg.QueryResult> {
    if (this.#session === undefined) throw new StorageUnavailableError('Postgres ended', { cause: this.#lastError });
    return this.#session.client.query(sql);
  }

  /**
   * Gives up this process's hold; while nobody else has one, runs `ifLast` first and keeps newcomers waiting.
   * When the session broke and cannot be had again, nobody knows who else is there: then the server is left alone.
   */
  async leave(ifLast: () => Promise<void>): Promise<void> {
    this.#left = true;
    clearTimeout(this.#timer);
    await this.#retaking;
    const session = this.#session ?? (await this.#reopen());
    if (session === undefined) return;
    // It was not to keep the program alive before; now its answer is awaited.
    session.socket.ref();
    try {
      if (await this.#isLast(session)) await ifLast();
    } finally {
      await session.client.end();
    }
  }

  async #isLast({ client, socket }: Session): Promise<boolean> {
    try {
      await client.query('select pg_advisory_unlock_shared($1)', [LOCK]);
      const { rows } = await client.query('select pg_try_advisory_lock($1) as alone', [LOCK]);
      return rows[0].alone === true;
    } catch (cause) {
      // Somebody who left at the same moment was the last and ends the server: the hold is gone with the session.
      const ending = cause instanceof pg.DatabaseError && cause.code?.startsWith('57P') === true;
      if (ending || socket.destroyed) return false;
      const postmaster = await readPostmaster(this.#cluster);
      if (postmaster === undefined || !(await isPostmaster(this.#cluster, postmaster.pid))) return false;
      throw new StorageUnavailableError(`Postgres in ${this.#cluster.directory} could not be left`, { cause });
    }
  }

  #adopt(session: Session): void {
    this.#session = session;
    session.client.once('end', () => {
      this.#session = undefined;
      // A crashed backend makes Postgres cut every session and go on; without a hold others could stop it under us.
      this.#retakeSoon();
    });
  }

  #retakeSoon(): void {
    if (this.#left) return;
    this.#timer = setTimeout(() => {
      this.#retaking = this.#retake();
    }, RETAKE_MS).unref();
  }

  async #retake(): Promise<void> {
    const session = await this.#reopen();
    if (session !== undefined) {
      this.#adopt(session);
      session.socket.unref();
    } else if (!this.#serverGone) {
      this.#retakeSoon();
    }
  }

  async #reopen(): Promise<Session | undefined> {
    try {
      const postmaster = await readPostmaster(this.#cluster);
      this.#serverGone = postmaster === undefined;
      return postmaster && (await openSession(this.#cluster, await addressOf(this.#cluster, postmaster)));
    } catch (error) {
      this.#lastError = error;
      return undefined;
    }
  }
}

async function openSession(cluster: Cluster, address: Address): Promise<Session> {
  const socket = new Socket();
  const client = new pg.Client({
    ...address,
    stream: () => socket,
    application_name: 'lora-store embedded',
    connectionTimeoutMillis: CONNECT_MS,
    statement_timeout: STATEMENT_MS,
  });
  let broken: Error | undefined;
  client.on('error', (error) => {
    broken ??= error;
  });
  try {
    await client.connect();
    await refuseOther(cluster, client);
    await client.query('select pg_advisory_lock_shared($1)', [LOCK]);
    if (broken !== undefined) throw broken;
    return { client, socket };
  } catch (error) {
    await client.end();
    throw error;
  }
}

/** A copied directory brings a postmaster.pid that leads to the original's server. */
async function refuseOther(cluster: Cluster, client: pg.Client): Promise<void> {
  const { rows } = await client.query('show data_directory');
  const [served, ours] = await Promise.all([statIfAny(rows[0].data_directory), stat(cluster.data)]);
  if (served?.ino === ours.ino && served.dev === ours.dev) return;
  throw new StorageUnavailableError(`the server answering there serves ${rows[0].data_directory}, not ${cluster.data}`);
}
