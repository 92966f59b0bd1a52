/**
 * Locks that loads and saves have to wait for: asked for with little patience, so that nobody queues behind us for long, and
 * asked for again until there is a moment in which they are free.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { StorageUnavailableError } from '../../errors.js';
import type { Session } from '../../postgres/database.js';
import { sqlState } from '../../postgres/failure.js';
import type { Tables } from '../tables.js';
import { once, type Site } from './site.js';

/** Nobody waits for us. */
const NOT_YET = Number.POSITIVE_INFINITY;
/** What a load may wait behind us for one lock, if it is not granted. */
const WAIT_MS = 200;
const PAUSES_MS = [20, 50, 100, 200, 500];

export class BriefLocks {
  readonly #site: Site;
  readonly #patienceMs: number;
  readonly #signal: AbortSignal;
  /** From the first lock to the commit, or to giving up: the longest that a call of a node may have waited for us. */
  longestMs = 0;

  #begun = 0;

  /** patienceMs: for how long it is asked again. */
  constructor(site: Site, patienceMs: number, signal: AbortSignal) {
    this.#site = site;
    this.#patienceMs = patienceMs;
    this.#signal = signal;
  }

  /** `work` in one transaction, which takes its locks first. Run again from the start where one was not granted. table: of those locks. */
  async take<T>(work: (session: Session) => Promise<T>, table = this.#site.live): Promise<T> {
    const until = performance.now() + this.#patienceMs;
    for (let attempt = 0; ; attempt++) {
      this.#signal.throwIfAborted();
      try {
        return await this.#attempt(work);
      } catch (error) {
        if (!isRefusal(error)) throw error;
        if (performance.now() >= until) {
          const { schema, tables } = this.#site;
          throw new StorageUnavailableError(
            `${table.slice(schema.length + 1)} was not free for a moment in ${Math.round(this.#patienceMs / 1000)} s: ${await holdersOf(tables)}. ` +
              'Wait for its transaction, or end it; the same command then goes on',
            { cause: error },
          );
        }
      }
      await pause(PAUSES_MS[attempt] ?? PAUSES_MS.at(-1), undefined, { signal: this.#signal }).catch(() => {});
    }
  }

  /**
   * As the first lock of a transaction that waits for everybody: a mode that neither loads nor saves wait for, and vacuums do.
   * An autovacuum gives way to whoever has waited for as long as deadlock_timeout, which a brief lock never does. tables: ours.
   */
  async outvacuum(session: Session, ...tables: string[]): Promise<void> {
    this.#begun = NOT_YET;
    await session.rows(PATIENTLY, []);
    await session.rows(once(`lock table ${tables.join(', ')} in share update exclusive mode`), []);
    await session.rows(once(`set local lock_timeout = ${WAIT_MS}`), []);
    this.#begun = performance.now();
  }

  async #attempt<T>(work: (session: Session) => Promise<T>): Promise<T> {
    this.#begun = performance.now();
    try {
      return await this.#site.tables.transaction(async (session) => {
        await session.rows(BRIEFLY, []);
        this.#begun = performance.now();
        return await work(session);
      });
    } finally {
      this.longestMs = Math.max(this.longestMs, performance.now() - this.#begun);
    }
  }
}

/** jit: compiling what asks the catalogs for obstacles took 1.8 s of the swap into 256 partitions, on two cores; running it, 0.2 s. */
const BRIEFLY = once(
  `select pg_catalog.set_config('lock_timeout', '${WAIT_MS}', true), pg_catalog.set_config('jit', 'off', true)`,
);

/** Within what a statement may take, which the pool has bounded locks by. */
const PATIENTLY = once(
  `select pg_catalog.set_config('lock_timeout', least(deadlock.setting::int4 + 1000, nullif(own.reset_val::int4, 0))::text, true)
   from pg_catalog.pg_settings deadlock, pg_catalog.pg_settings own
   where deadlock.name = 'deadlock_timeout' and own.name = 'lock_timeout'`,
);

/** A lock that was not granted in time, or would have been a deadlock. */
function isRefusal(error: unknown): boolean {
  return ['55P03', '40P01'].includes(sqlState((error as Error).cause) ?? '');
}

/** Of the tables of a rebuild, and of `users`; a partition is told as the table that it is of. */
async function holdersOf(tables: Tables): Promise<string> {
  const rows = await tables.rows<[string]>(HOLDERS, []);
  return rows.length === 0 ? 'somebody holds it' : rows.map(([one]) => one).join(', ');
}

const HOLDERS = once(
  `select 'process ' || l.pid || case
      when a.backend_type = 'autovacuum worker' then ' (autovacuum)'
      when exists (select from pg_catalog.pg_stat_progress_vacuum v where v.pid = l.pid) then ' (a VACUUM)'
      else coalesce(' (' || nullif(a.application_name, '') || ', ' || a.state || ')', '') end
    || ' holds ' || string_agg(distinct whole.relname, ' and ' order by whole.relname)
   from pg_catalog.pg_locks l left join pg_catalog.pg_stat_activity a on a.pid = l.pid
   left join pg_catalog.pg_inherits i on i.inhrelid = l.relation
   join pg_catalog.pg_class whole on whole.oid = coalesce(i.inhparent, l.relation)
   where l.granted and l.pid <> pg_backend_pid() and l.database = (select oid from pg_database where datname = current_database())
     and (whole.oid = to_regclass('users') or whole.relname in ('lora_adapters', 'lora_adapters_next', 'lora_adapters_replaced')
       and whole.relnamespace = (select relnamespace from pg_catalog.pg_class where oid = 'lora_adapters'::regclass))
   group by l.pid, a.backend_type, a.application_name, a.state order by l.pid`,
);
