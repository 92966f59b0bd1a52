/**
 * One read replica: a standby of the primary. What it says may be old, and is for coherence to judge; whether it is asked
 * at all is decided here: while it answers, and shows a picture that may count.
 */

import type { Coherence } from '../coherence/head.js';
import type { Key } from '../coherence/key.js';
import { AdapterCorruptError, StorageOverloadedError } from '../errors.js';
import { type Database, type PoolState, statement } from '../postgres/database.js';
import { BusyPoolError, isConnectionState, sqlState } from '../postgres/failure.js';
import { SHOWN_BY_STANDBY } from '../postgres/server-id.js';
import type { Entry } from './entry.js';
import { bringsBody, entryOfRow } from './row.js';
import * as sql from './statements.js';

/**
 * up: it is asked. behind: it answers, but what it shows is older than what the change feed covers, is of another primary,
 * or the change feed is down. down: it does not answer, or is no standby.
 */
export type ReplicaState = 'up' | 'behind' | 'down';

export interface ReplicaStats {
  /** host:port/database */
  readonly target: string;
  readonly state: ReplicaState;
  /** How old what it shows is, of what it has received: what it has not, it knows nothing of. Undefined: not known. */
  readonly lagMs: number | undefined;
  /** Bodies fetched. */
  readonly loads: number;
  /** Answers that did not count, so that the primary was asked as well. */
  readonly refused: number;
  /** Loads and looks that failed, and rows that were bad. */
  readonly errors: number;
  readonly pool: PoolState;
}

export interface ReplicaParts {
  readonly coherence: Coherence;
  readonly degraded: (cause: Error) => void;
  readonly recovered: (afterMs: number) => void;
  readonly corrupt: (key: Key, reason: string) => void;
}

type Look = [standby: boolean, server: number | null, mark: number | null, lagMs: number | null, touched: boolean];

/**
 * Lag: nothing that was received waits to be replayed, or it is as old as what was replayed last. The tables are touched, since a
 * lock that was replayed and not released keeps from reading them.
 */
const LOOK = statement(
  'replica_look',
  `select pg_is_in_recovery(), ${SHOWN_BY_STANDBY},
     case when pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn()
         and exists (select from pg_stat_wal_receiver where pid is not null) then 0
       else extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000 end::float8,
     exists (select from lora_adapter_heads join lora_adapters using (user_id) where user_id = '00000000-0000-0000-0000-000000000000')`,
);

export class Replica {
  readonly #database: Database;
  readonly #parts: ReplicaParts;
  #state: ReplicaState = 'down';
  #lagMs: number | undefined;
  #looking: Promise<void> | undefined;
  #downSince: number | undefined;
  #loads = 0;
  #refused = 0;
  #errors = 0;

  constructor(database: Database, parts: ReplicaParts) {
    this.#database = database;
    this.#parts = parts;
  }

  get state(): ReplicaState {
    return this.#state;
  }

  get stats(): ReplicaStats {
    const { target, pool } = this.#database;
    const counts = { loads: this.#loads, refused: this.#refused, errors: this.#errors };
    return { target, state: this.#state, lagMs: this.#lagMs, ...counts, pool };
  }

  /** What it shows of each key, `held` where that is of the same revision; undefined: it did not say. Never rejects. */
  async load(keys: readonly Key[], held: readonly (Entry | undefined)[]): Promise<(Entry | undefined)[]> {
    try {
      const rows = await this.#ask(keys, held);
      return keys.map((key, i) => this.#entry(key, held[i], rows[i] as sql.ReplicaRow));
    } catch (error) {
      this.#errors++;
      if (isOutage(error)) this.#leave(error as Error);
      return keys.map(() => undefined);
    }
  }

  /** An answer that was to count did not. */
  refuse(): void {
    this.#refused++;
  }

  /** Looks how it is, and takes it into rotation or out of it. Never rejects; one look at a time. */
  look(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async close(): Promise<void> {
    await this.#looking;
    await this.#database.close();
  }

  async #look(): Promise<void> {
    try {
      const [row] = await this.#database.read<Look>(LOOK, []);
      const [standby, server, mark, lagMs] = row as Look;
      if (!standby) throw new Error('it is no standby: name it as postgres.primary, or leave it out');
      this.#lagMs = lagMs === null ? undefined : Math.max(0, lagMs);
      this.#shows(server, mark);
    } catch (error) {
      this.#errors++;
      if (!isBusy(error)) this.#leave(error as Error);
    }
  }

  async #ask(keys: readonly Key[], held: readonly (Entry | undefined)[]): Promise<sql.ReplicaRow[]> {
    const [key] = keys;
    if (keys.length === 1 && key !== undefined) {
      const values = [key.userId, key.adapterName, held[0]?.revision ?? -1];
      return await this.#database.read<sql.ReplicaRow>(sql.REPLICA_LOAD, values);
    }
    return await this.#database.read<sql.ReplicaRow>(sql.REPLICA_LOAD_MANY, [
      keys.map(({ userId }) => userId),
      keys.map(({ adapterName }) => adapterName),
      keys.map((_, i) => held[i]?.revision ?? -1),
    ]);
  }

  #entry(key: Key, held: Entry | undefined, row: sql.ReplicaRow): Entry | undefined {
    const [server, mark] = [row[5] ?? 0, row[6] ?? 0];
    // It cannot say when that was. Transaction ids are left out of it: they count on in another history, too.
    const seen = {
      server,
      xid: 0,
      verifiedAt: Number.NEGATIVE_INFINITY,
      era: this.#parts.coherence.eraShown(server, mark),
    };
    this.#shows(server, mark);
    const entry = entryOfRow(key, held, row, seen);
    if (entry instanceof AdapterCorruptError) {
      // The primary is asked next, and may hold it whole.
      this.#errors++;
      this.#parts.corrupt(key, `on the replica ${this.#database.target}: ${entry.reason}`);
      return undefined;
    }
    if (bringsBody(entry, held)) this.#loads++;
    return entry;
  }

  #shows(server: number | null, mark: number | null): void {
    this.#state = this.#parts.coherence.reaches(server ?? 0, mark ?? 0) ? 'up' : 'behind';
    if (this.#downSince === undefined) return;
    this.#parts.recovered(performance.now() - this.#downSince);
    this.#downSince = undefined;
  }

  /** One failure is enough: there is the primary, and the next look is not far. */
  #leave(error: Error): void {
    this.#state = 'down';
    this.#lagMs = undefined;
    if (this.#downSince !== undefined) return;
    this.#downSince = performance.now();
    this.#parts.degraded(new Error(`replica ${this.#database.target}: ${error.message}`, { cause: error }));
  }
}

/** All its connections are taken, by calls of ours: that says nothing about it. */
function isBusy(error: unknown): boolean {
  return error instanceof BusyPoolError || error instanceof StorageOverloadedError;
}

/** lock_not_available, query_canceled: a statement took the whole time. */
const TIMED_OUT = ['55P03', '57014'];

/** Nor does it that a statement was refused, as a standby refuses one that is in the way of its replay. */
function isOutage(error: unknown): boolean {
  const state = sqlState(error);
  return !isBusy(error) && (state === undefined || isConnectionState(state) || TIMED_OUT.includes(state));
}
