/**
 * How many connections our own pool may have: as many as was said, or, where Postgres refuses another, those it has. Calls
 * wait for one of these then, and not each for a refusal of its own: one more is tried a second later, and while each is
 * granted the next one at once.
 */
import type pg from 'pg';
import { sqlState } from './failure.js';

/** Until it is tried again whether Postgres has a connection more. */
const PAUSE_MS = 1000;

export class Growth {
  readonly #pool: pg.Pool;
  readonly #live: () => number;
  readonly #max: number;
  #refusal: unknown;
  #timer: NodeJS.Timeout | undefined;

  /** live: how many connections can be waited for. */
  constructor(pool: pg.Pool, live: () => number) {
    this.#pool = pool;
    this.#live = live;
    this.#max = pool.options.max;
    pool.on('connect', () => {
      if (this.#refusal !== undefined) this.#more();
    });
  }

  /** How many connections there are to be, whatever Postgres has left. */
  get max(): number {
    return this.#max;
  }

  /** Why the pool may not grow now; undefined: it may. */
  get refusal(): unknown {
    return this.#refusal;
  }

  /** A connection was not opened. True: Postgres has none left, and there are others to be waited for. */
  failed(error: unknown): boolean {
    if (!isExhausted(error)) return false;
    const live = this.#live();
    if (live === 0) {
      this.#grant();
      return false;
    }
    this.#refusal = error;
    // A full pool opens none; one that is lost may be replaced.
    this.#pool.options.max = live;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#more();
    }, PAUSE_MS).unref();
    return true;
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  /** Room for one. The pool opens it for a call to come; for those that wait already it is opened here. */
  #more(): void {
    const pool = this.#pool;
    const { totalCount } = pool;
    pool.options.max = Math.min(this.#max, totalCount + 1);
    if (totalCount + 1 >= this.#max) this.#grant();
    if (pool.waitingCount === 0 || totalCount >= this.#max || pool.ending) return;
    pool.connect().then(
      (client) => client.release(),
      (error: unknown) => this.failed(error),
    );
    // Should it be refused, the pool would open another for whoever waits, before anybody hears of the refusal.
    if (this.#refusal !== undefined) pool.options.max = totalCount;
  }

  #grant(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#refusal = undefined;
    this.#pool.options.max = this.#max;
  }
}

/** Class 53, insufficient resources: of a connection that is to be opened it says that there are enough. */
function isExhausted(error: unknown): boolean {
  return sqlState(error)?.startsWith('53') === true;
}
