/**
 * The system of record. Loads and saves are one round trip each; whatever else writes takes its locks in one order (the
 * user's row, the bodies, the head), and what loses a race is sent again up to three times. Throws only the errors of
 * errors.ts.
 */
import type { CircuitBreakerPolicy } from 'cockatiel';
import { crc32c } from '../adapter/codec.js';
import type { AdapterRecord } from '../adapter/record.js';
import type { Asked } from '../coherence/head.js';
import { type Key, keyOf } from '../coherence/key.js';
import {
  AdapterCorruptError,
  AdapterNotFoundError,
  StorageOverloadedError,
  UserNotFoundError,
  VersionConflictError,
} from '../errors.js';
import type { Database, PoolState, Session, Statement } from '../postgres/database.js';
import { BusyPoolError, isRetryable, UnreachableError } from '../postgres/failure.js';
import {
  type BreakerOptions,
  type BreakerState,
  breakerState,
  lastFailure,
  type OutageEvents,
  outageBreaker,
} from './breaker.js';
import { deleteBodies } from './deletion.js';
import { type Entry, entryOf } from './entry.js';
import { readFailure, saveFailure } from './postgres-errors.js';
import { bringsBody, checked, entryOfRow } from './row.js';
import * as sql from './statements.js';

const ATTEMPTS = 3;

/** A single failure may be one broken connection. */
const BREAKER: BreakerOptions = {
  isOutage: (error) => error instanceof UnreachableError,
  saysNothing: (error) => error instanceof BusyPoolError || error instanceof StorageOverloadedError,
  failures: 3,
  firstPauseMs: 100,
  longestPauseMs: 1000,
};

/** A head after a write of ours. */
export interface Written {
  readonly key: Key;
  readonly revision: number;
  /** The latest version now; 0: none. */
  readonly version: number;
}

type HeadRow = [userId: string, adapterName: string, revision: number, latestVersion: number | null];

export class PostgresTier {
  readonly #database: Database;
  readonly #createMissingUsers: boolean;
  readonly #breaker: CircuitBreakerPolicy;

  /** Bodies fetched. */
  loads = 0;
  /** Calls that failed. */
  errors = 0;

  constructor(database: Database, options: { createMissingUsers: boolean }, events: OutageEvents) {
    this.#database = database;
    this.#createMissingUsers = options.createMissingUsers;
    this.#breaker = outageBreaker(BREAKER, events);
  }

  get breaker(): BreakerState {
    return breakerState(this.#breaker);
  }

  get pool(): PoolState {
    return this.#database.pool;
  }

  // ── reads ──

  /** The latest of `key`: `held` with a new stamp where its revision still stands, else with the body that does. */
  async load(key: Key, held: Entry | undefined, asked: Asked): Promise<Entry> {
    const [row] = await this.#read<sql.LoadRow>(sql.LOAD, [key.userId, key.adapterName, held?.revision ?? -1]);
    const entry = this.#entry(key, held, row as sql.LoadRow, asked);
    if (entry instanceof AdapterCorruptError) throw entry;
    return entry;
  }

  /** load() for many in one round trip. result[i] answers keys[i]. */
  async loadMany(
    keys: readonly Key[],
    held: readonly (Entry | undefined)[],
    asked: Asked,
  ): Promise<(Entry | AdapterCorruptError)[]> {
    const rows = await this.#read<sql.LoadRow>(sql.LOAD_MANY, [
      keys.map((key) => key.userId),
      keys.map((key) => key.adapterName),
      held.map((entry) => entry?.revision ?? -1),
    ]);
    return keys.map((key, i) => this.#entry(key, held[i], rows[i] as sql.LoadRow, asked));
  }

  /** One version, whether or not it is the latest. */
  async loadVersion(key: Key, version: number): Promise<{ record: AdapterRecord; updatedAt: number } | undefined> {
    type Row = [body: sql.BodyColumn, checksum: number | null, updatedAt: number];
    const [row] = await this.#read<Row>(sql.LOAD_VERSION, [key.userId, key.adapterName, version]);
    if (row === undefined) return undefined;
    const [body, checksum, updatedAt] = row;
    const record = checked(key, version, body, checksum);
    if (record instanceof AdapterCorruptError) throw record;
    this.loads++;
    return { record, updatedAt };
  }

  /** Rows of any other read. */
  query<Row extends unknown[]>(statement: Statement, values: readonly unknown[]): Promise<Row[]> {
    return this.#read<Row>(statement, values);
  }

  // ── writes ──

  /**
   * Appends a version. `expectedVersion`: only over that one; 0: only as the first. Through a pooler it is a transaction: only
   * there do locks have a budget, and a save that waited on after its caller was told would be committed unheard.
   */
  async save(key: Key, record: AdapterRecord, expectedVersion: number | undefined, asked: Asked): Promise<Entry> {
    const [statement, expected] =
      expectedVersion === undefined || expectedVersion === 0
        ? [sql.SAVE, expectedVersion === 0]
        : [sql.SAVE_OVER, expectedVersion];
    const { bytes, trainingIterations } = record;
    const values = [key.userId, key.adapterName, bytes, trainingIterations, expected, crc32c(bytes)];
    const send = async (session: Session) => (await session.rows<sql.SaveRow>(statement, values))[0] as sql.SaveRow;

    let row = await this.#append(() =>
      this.#database.pooled ? this.#database.transaction(send) : send(this.#database),
    );
    if (!row[0] && this.#createMissingUsers) row = await this.#append(() => this.#saveWithUser(key.userId, send));
    const [owner, version, revision, updatedAt, xid, server] = row;
    if (!owner) throw new UserNotFoundError(key.userId);
    if (version === null || revision === null || updatedAt === null) {
      throw new VersionConflictError(expectedVersion ?? 0, await this.#latestVersion(key));
    }
    return entryOf({ revision, version, xid, server, ...asked }, record, updatedAt);
  }

  /** Appends a copy of version `toVersion`. */
  rollback(key: Key, toVersion: number): Promise<Written> {
    return this.#append(() =>
      this.#database.transaction(async (session) => {
        await session.rows(sql.LOCK_OWNER, [key.userId]);
        await session.rows(sql.LOCK_TABLE, []);
        const source = await session.rows(sql.LOCK_SOURCE, [...names(key), toVersion]);
        const [head] = source.length === 0 ? [] : await session.rows<[number, number]>(sql.NEXT_HEAD, names(key));
        if (head === undefined) throw new AdapterNotFoundError(key.userId, key.adapterName, toVersion);
        const [version, revision] = head;
        await session.rows(sql.COPY_VERSION, [...names(key), toVersion, version]);
        return { key, version, revision };
      }),
    );
  }

  /** Deletes every version, or the one given. */
  delete(key: Key, version?: number): Promise<Written & { deleted: number }> {
    return this.#write(async (session) => {
      const deleted = await deleteBodies(session, key, version);
      const [head] = await readHeads(session, [key]);
      return { ...(head ?? { key, revision: 0, version: 0 }), deleted };
    });
  }

  /** Deletes a user's bodies and heads. The user's row is not ours to delete. */
  forgetUser(userId: string): Promise<{ deleted: number; heads: Written[] }> {
    return this.#write(async (session) => {
      // Savers hold the row FOR KEY SHARE: while there is one, nobody appends between the two deletions.
      await session.rows(sql.LOCK_OWNER_ALONE, [userId]);
      const bodies = await session.rows(sql.FORGET_BODIES, [userId]);
      const heads = await session.rows<HeadRow>(sql.FORGET_HEADS, [userId]);
      return { deleted: bodies.length, heads: heads.map(written) };
    });
  }

  /** One batch of a prune. */
  deleteBatch(statement: Statement, values: readonly unknown[]): Promise<sql.PrunedRow[]> {
    return this.#write((session) => session.rows(statement, values));
  }

  /** Where these heads stand; keys that have none are left out. */
  async heads(keys: readonly Key[]): Promise<Written[]> {
    return (await this.#read<HeadRow>(sql.HEADS, headsOf(keys))).map(written);
  }

  // ── inside ──

  #entry(key: Key, held: Entry | undefined, row: sql.LoadRow, asked: Asked): Entry | AdapterCorruptError {
    const entry = entryOfRow(key, held, row, { xid: row[5], server: row[6], ...asked });
    if (!(entry instanceof AdapterCorruptError) && bringsBody(entry, held)) this.loads++;
    return entry;
  }

  async #saveWithUser(userId: string, save: (session: Session) => Promise<sql.SaveRow>): Promise<sql.SaveRow> {
    return await this.#database
      .transaction(async (session) => {
        await session.rows(sql.CREATE_USER, [userId]);
        const row = await save(session);
        // Nothing saved, then no user made either.
        if (row[1] === null) throw new NothingSaved(row);
        return row;
      })
      .catch((error: unknown) => {
        if (error instanceof NothingSaved) return error.row;
        throw error;
      });
  }

  async #latestVersion(key: Key): Promise<number> {
    const [row] = await this.#read<[version: number | null]>(sql.LATEST_VERSION, names(key));
    return row?.[0] ?? 0;
  }

  async #read<Row extends unknown[]>(statement: Statement, values: readonly unknown[]): Promise<Row[]> {
    try {
      return await this.#breaker.execute(() => this.#database.read<Row>(statement, values));
    } catch (error) {
      this.errors++;
      throw readFailure(error, lastFailure(this.#breaker));
    }
  }

  /** A write that may be sent again after a lost answer: deletions. */
  #write<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return this.#retrying(() => this.#database.transaction(work), readFailure);
  }

  /** A write that must not be: each sending appends a version. */
  #append<T>(work: () => Promise<T>): Promise<T> {
    return this.#retrying(work, saveFailure);
  }

  async #retrying<T>(work: () => Promise<T>, failure: typeof readFailure): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#breaker.execute(work);
      } catch (error) {
        if (attempt < ATTEMPTS && isRetryable(error)) continue;
        // That the version is gone is what Postgres was asked.
        if (!(error instanceof AdapterNotFoundError)) this.errors++;
        throw failure(error, lastFailure(this.#breaker));
      }
    }
  }
}

class NothingSaved extends Error {
  readonly row: sql.SaveRow;

  constructor(row: sql.SaveRow) {
    super('nothing saved');
    this.row = row;
  }
}

function names(key: Key): [string, string] {
  return [key.userId, key.adapterName];
}

async function readHeads(session: Session, keys: readonly Key[]): Promise<Written[]> {
  return (await session.rows<HeadRow>(sql.HEADS, headsOf(keys))).map(written);
}

function headsOf(keys: readonly Key[]): [string[], string[]] {
  return [keys.map((key) => key.userId), keys.map((key) => key.adapterName)];
}

function written([userId, adapterName, revision, latestVersion]: HeadRow): Written {
  return { key: keyOf(userId, adapterName), revision, version: latestVersion ?? 0 };
}
