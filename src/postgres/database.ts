/**
 * A pool of connections with a budget: every call ends within `timeoutMs`, a full queue refuses at once, and a
 * connection that failed is thrown away rather than given back. Our own pool receives binary results, after a probe
 * with known bytes on each connection; a Pool of the caller's, and a connection where the probe fails, read hex.
 */
import pg from 'pg';
import { DeadlineError, within } from '../deadline.js';
import { StorageOverloadedError } from '../errors.js';
import { isPool, type PostgresSource } from '../options.js';
import { BinaryClient } from './binary-client.js';
import { BUSY_POOL, BusyPoolError, isBusyPool, isConnectionState, sqlState, UnreachableError } from './failure.js';
import { Growth } from './growth.js';
import { lockBudget, ownPool } from './own-pool.js';
import { isPooled } from './pooler.js';
import { columnTypes } from './wire.js';

/** A prepared statement. `types` decide what its columns become; see wire.ts. */
export interface Statement {
  readonly name: string;
  readonly text: string;
  readonly types: pg.CustomTypesConfig;
}

export interface Session {
  rows<Row extends unknown[]>(statement: Statement, values: readonly unknown[]): Promise<Row[]>;
}

export interface PoolState {
  /** Connections there are, those being opened included, and how many there may be. */
  readonly size: number;
  readonly max: number;
  readonly idle: number;
  /** Calls that have no connection yet. */
  readonly waiting: number;
}

const PLAIN = columnTypes();

/** A statement whose columns need no decoder of their own. */
export function statement(name: string, text: string, types = PLAIN): Statement {
  return { name: `lora_store_${name}`, text, types };
}

/** How long a server may take to say goodbye. */
const GOODBYE_MS = 500;

export class Database implements Session {
  readonly #pool: pg.Pool;
  /** Of our own pool: those whose socket is still there. */
  readonly #connected = new Set<pg.PoolClient>();
  /** Of our own pool. */
  readonly #growth: Growth | undefined;
  readonly #own: boolean;
  readonly #timeoutMs: number;
  readonly #maxQueue: number;
  readonly #target: string;
  #pooled: boolean | undefined;

  /** option: which of the caller's it comes from. */
  constructor(source: PostgresSource, limits: { timeoutMs: number; maxQueue: number }, option = 'postgres') {
    this.#own = !isPool(source);
    this.#pool = isPool(source) ? source : ownPool(checkedConfig(option, source), limits.timeoutMs);
    this.#timeoutMs = limits.timeoutMs;
    this.#maxQueue = limits.maxQueue;
    this.#target = describe(this.#pool.options);
    if (!this.#own) return;
    this.#pool.on('connect', (client) => this.#connected.add(client));
    this.#pool.on('remove', (client) => this.#connected.delete(client as pg.PoolClient));
    this.#growth = new Growth(this.#pool, () => [...this.#connected].filter((client) => !isEnding(client)).length);
  }

  /** Where this pool connects to, for a connection of one's own (LISTEN). */
  get config(): pg.ClientConfig {
    return connectionOf(this.#pool.options);
  }

  /** Whether a pooler stands between us and the server: then no session is ours. Known once a call was answered. */
  get pooled(): boolean {
    return this.#pooled === true;
  }

  /** Whether single statements run with settings that are not ours: on a pool of the caller's. */
  get lent(): boolean {
    return !this.#own;
  }

  /** host:port/database */
  get target(): string {
    return this.#target;
  }

  get pool(): PoolState {
    const { totalCount, idleCount, waitingCount, options } = this.#pool;
    return { size: totalCount, max: this.#growth?.max ?? options.max, idle: idleCount, waiting: waitingCount };
  }

  /** One round trip. */
  rows<Row extends unknown[]>(statement: Statement, values: readonly unknown[]): Promise<Row[]> {
    return this.#withClient((session) => session.rows<Row>(statement, values), this.#deadline());
  }

  /** One round trip that changes nothing, so that a connection which broke under it is replaced once. */
  async read<Row extends unknown[]>(statement: Statement, values: readonly unknown[]): Promise<Row[]> {
    const deadline = this.#deadline();
    const ask = () => this.#withClient((session) => session.rows<Row>(statement, values), deadline);
    try {
      return await ask();
    } catch (error) {
      const soon = deadline - performance.now() > this.#timeoutMs / 2;
      if (error instanceof UnreachableError && error.sent && soon) return await ask();
      throw error;
    }
  }

  /** Runs `work` between BEGIN and COMMIT at READ COMMITTED; its error rolls everything back. */
  transaction<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return this.#withClient(async (session) => {
      let committing = false;
      try {
        await session.rows(BEGIN, []);
        if (this.pooled) await session.rows(BUDGETS, [String(lockBudget(this.#timeoutMs)), String(this.#timeoutMs)]);
        const result = await work(session);
        committing = true;
        await session.rows(COMMIT, []);
        return result;
      } catch (error) {
        if (!(error instanceof UnreachableError)) {
          // Should it fail, the connection goes, and its transaction with it; what counts is why the work failed.
          await session.rows(ROLLBACK, []).catch(ignore);
          throw error;
        }
        // Before COMMIT there is no doubt: a connection that is lost rolls back.
        throw committing ? error : new UnreachableError(false, this.#target, error.cause);
      }
    }, this.#deadline());
  }

  /** Ends the pool if it is ours, once its connections are idle. */
  async close(): Promise<void> {
    if (!this.#own) return;
    this.#growth?.close();
    await this.#pool.end();
    if (this.#connected.size === 0) return;
    // The pool does not wait for its sockets, and one whose other side has fallen silent would keep the process alive.
    const gone = new Promise<void>((resolve) => {
      this.#pool.on('remove', () => {
        if (this.#connected.size === 0) resolve();
      });
    });
    await within(gone, GOODBYE_MS, 'Postgres').catch(() => {
      for (const client of this.#connected) socketOf(client).destroy();
    });
  }

  #deadline(): number {
    return performance.now() + this.#timeoutMs;
  }

  async #withClient<T>(work: (session: Session) => Promise<T>, deadline: number): Promise<T> {
    const client = await this.#connect(deadline);
    const binary = client instanceof BinaryClient && client.binaryResults;
    let broken = false;
    // The pool listens only while a client is idle; what breaks under a query also rejects that query.
    client.on('error', ignore);
    const session: Session = {
      rows: async <Row extends unknown[]>(statement: Statement, values: readonly unknown[]) => {
        const query = {
          ...statement,
          // Prepared under a name it would be on one of the pooler's sessions, and asked for on another.
          name: this.#pooled === false ? statement.name : undefined,
          values: values as unknown[],
          binary,
          rowMode: 'array' as const,
          // Without a name pg would send what has no values by the simple protocol, whose answers are text.
          queryMode: 'extended' as const,
          query_timeout: Math.max(1, deadline - performance.now()),
        };
        try {
          return (await client.query<Row>(query)).rows;
        } catch (error) {
          const state = sqlState(error);
          if (state !== undefined && !isConnectionState(state)) throw error;
          broken = true;
          throw new UnreachableError(!neverSent(error), this.#target, error);
        }
      },
    };
    try {
      if (client instanceof BinaryClient) this.#pooled = client.pooled;
      else if (this.#pooled === undefined) {
        const [row] = await session.rows<[pid: number]>(BACKEND, []);
        this.#pooled = isPooled(client, row?.[0]);
      }
      return await work(session);
    } finally {
      client.off('error', ignore);
      client.release(broken);
    }
  }

  /** Calls for which there is neither a connection nor room for one. */
  #waiting(): number {
    const { waitingCount, idleCount, totalCount, options } = this.#pool;
    return waitingCount - idleCount - (options.max - totalCount);
  }

  /** The pool has a budget for each step of connecting; this one is for all of them. */
  async #connect(deadline: number): Promise<pg.PoolClient> {
    for (;;) {
      if (this.#waiting() >= this.#maxQueue) {
        throw new StorageOverloadedError(
          `${this.#waiting()} calls are waiting for Postgres already: raise maxQueue or the pool's max, or send less`,
        );
      }
      try {
        return await withinBudget(this.#pool, deadline - performance.now());
      } catch (error) {
        // Refused, while there are others: it is one of these that is waited for now.
        if (this.#growth?.failed(error)) continue;
        if (!isBusyPool(error)) throw new UnreachableError(false, this.#target, error);
        throw new BusyPoolError(this.#target, this.#growth?.refusal ?? error);
      }
    }
  }
}

const BACKEND = statement('backend', 'select pg_backend_pid()');
/** For this transaction alone: what is set for a session of the pooler's would come upon whoever gets it next. */
const BUDGETS = statement(
  'budgets',
  `select set_config('lock_timeout', $1, true), set_config('statement_timeout', $2, true)`,
);
const BEGIN = statement('begin', 'begin isolation level read committed');
const COMMIT = statement('commit', 'commit');
const ROLLBACK = statement('rollback', 'rollback');

/** A URL or config that pg can read, or a TypeError that does not repeat it: it may hold a password. */
export function checkedConfig(option: string, source: string | pg.PoolConfig): pg.PoolConfig {
  const config = typeof source === 'string' ? { connectionString: source } : source;
  try {
    new pg.Client(config);
    return config;
  } catch {
    throw new TypeError(
      `option ${option} cannot be read: check host, port and files it names, and write special characters of the password as %XX`,
    );
  }
}

/** A pool may wait for ever; a connection that comes too late is given back. */
async function withinBudget(pool: pg.Pool, timeoutMs: number): Promise<pg.PoolClient> {
  const busy = pool.waitingCount >= pool.idleCount && pool.totalCount >= pool.options.max;
  const connecting = pool.connect();
  try {
    return await within(connecting, timeoutMs, busy ? BUSY_POOL : 'the pool');
  } catch (error) {
    if (error instanceof DeadlineError) {
      connecting.then((client) => client.release(), ignore);
    }
    throw error;
  }
}

function ignore(): void {}

/** pg refuses a query on a connection that it knows is broken, before anything of it is sent. */
function neverSent(error: unknown): boolean {
  return error instanceof Error && /not queryable|Client was closed/.test(error.message);
}

/** A connection that leaves the pool, whether or not its socket is closed yet. */
function isEnding(client: pg.PoolClient): boolean {
  return (client as unknown as { _ending: boolean })._ending;
}

function socketOf(client: pg.PoolClient): { destroy(): void } {
  return (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream;
}

/** Only what opens a connection: pool sizes and hooks do not belong to a single client. */
export function connectionOf(options: pg.PoolConfig & { Client?: unknown }): pg.ClientConfig {
  const { max, min, idleTimeoutMillis, log, Promise: _promise, allowExitOnIdle, maxUses, ...rest } = options;
  const { maxLifetimeSeconds, Client, onConnect, verify, ...connection } = rest;
  // pg-pool keeps the password off its enumerable properties, so a spread loses it.
  return options.password === undefined ? connection : { ...connection, password: options.password };
}

function describe(options: pg.PoolConfig): string {
  const { host, port, database } = new pg.Client(connectionOf(options));
  return `${host}:${port}/${database}`;
}
