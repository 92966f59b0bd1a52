/**
 * Locks that loads and saves have to wait for: asked for with little patience, so that nobody queues behind us for long, and
 * asked for again until there is a moment in which they are free.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { StorageUnavailableError } from '../../errors.js';
import type { Session } from '../../postgres/database.js';
import { sqlState } from '../../postgres/failure.js';
import { once, type Site } from './site.js';

/** What a load may wait behind us for one lock, if it is not granted. */
const WAIT_MS = 200;
const PAUSES_MS = [20, 50, 100, 200, 500];

export class BriefLocks {
  readonly #site: Site;
  readonly #patienceMs: number;
  readonly #signal: AbortSignal;
  /** From the first lock to the commit, or to giving up: the longest that a call of a node may have waited for us. */
  longestMs = 0;

  /** patienceMs: for how long it is asked again. */
  constructor(site: Site, patienceMs: number, signal: AbortSignal) {
    this.#site = site;
    this.#patienceMs = patienceMs;
    this.#signal = signal;
  }

  /** `work` in one transaction, which takes its locks first. Run again from the start where one was not granted. */
  async take<T>(work: (session: Session) => Promise<T>): Promise<T> {
    const until = performance.now() + this.#patienceMs;
    for (let attempt = 0; ; attempt++) {
      this.#signal.throwIfAborted();
      let holders: string | undefined;
      try {
        return await this.#attempt(work);
      } catch (error) {
        if (!isRefusal(error)) throw error;
        if (performance.now() >= until) {
          holders = await holdersOf(this.#site);
          throw new StorageUnavailableError(
            `lora_adapters was not free for a moment in ${Math.round(this.#patienceMs / 1000)} s: ${holders} holds it. ` +
              'Wait for its transaction, or end it; the same command then goes on',
            { cause: error },
          );
        }
      }
      await pause(PAUSES_MS[attempt] ?? PAUSES_MS.at(-1), undefined, { signal: this.#signal }).catch(() => {});
    }
  }

  async #attempt<T>(work: (session: Session) => Promise<T>): Promise<T> {
    let begun = performance.now();
    try {
      return await this.#site.tables.transaction(async (session) => {
        await session.rows(once(`set local lock_timeout = ${WAIT_MS}`), []);
        begun = performance.now();
        return await work(session);
      });
    } finally {
      this.longestMs = Math.max(this.longestMs, performance.now() - begun);
    }
  }
}

/** A lock that was not granted in time, or would have been a deadlock. */
function isRefusal(error: unknown): boolean {
  return ['55P03', '40P01'].includes(sqlState((error as Error).cause) ?? '');
}

async function holdersOf({ tables, schema }: Site): Promise<string> {
  const rows = await tables.rows<[string]>(
    once(`select distinct 'process ' || l.pid || coalesce(' (' || nullif(a.application_name, '') || ', ' || a.state || ')', '')
      from pg_catalog.pg_locks l left join pg_catalog.pg_stat_activity a on a.pid = l.pid
      where l.granted and l.pid <> pg_backend_pid() and l.database = (select oid from pg_database where datname = current_database())
        and l.relation in (
          select '${schema}.lora_adapters'::regclass union all select to_regclass('users')
          union all select inhrelid from pg_catalog.pg_inherits where inhparent = '${schema}.lora_adapters'::regclass)`),
    [],
  );
  return rows.length === 0 ? 'somebody' : rows.map(([one]) => one).join(', ');
}
