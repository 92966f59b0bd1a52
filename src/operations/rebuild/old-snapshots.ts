/**
 * Waits until no transaction is left whose snapshot is older than the last copied row. One that is older, and comes to
 * lora_adapters for the first time after the swap (REPEATABLE READ), would find the new table without the rows that were
 * copied behind its back. CREATE INDEX CONCURRENTLY, on a table of one row that is ours, waits for just that, and takes no right.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type pg from 'pg';
import { StorageUnavailableError } from '../../errors.js';
import type { Session } from '../../postgres/database.js';
import { sqlState } from '../../postgres/failure.js';
import { CANCEL } from '../statements/sessions.js';
import { DOUBTS, fenced, TABLE } from './bookkeeping.js';
import type { BriefLocks } from './brief-lock.js';
import { columnsOf } from './mirror.js';
import { KEY, once, type Site } from './site.js';

const LOOK_EVERY_MS = 100;
export interface Patience {
  readonly signal: AbortSignal;
  readonly patienceMs: number;
}

const INDEX = 'lora_store_rebuild_old_snapshots';

/**
 * The same, and settles the rows that such a transaction wrote without seeing their copy: what settling them writes is
 * again newer than some snapshots.
 */
export async function outwaitOldSnapshots(
  site: Site,
  locks: BriefLocks,
  keeper: pg.ClientBase,
  patience: Patience,
): Promise<void> {
  do await outwait(site, keeper, patience);
  while ((await settleDoubts(site, locks)) > 0);
}

/** keeper: a session of its own. */
async function outwait(
  { tables, schema }: Site,
  keeper: pg.ClientBase,
  { signal, patienceMs }: Patience,
): Promise<void> {
  signal.throwIfAborted();
  await keeper.query(`drop index if exists ${schema}.${INDEX}`);
  await keeper.query(`set statement_timeout = ${Math.round(patienceMs)}`);
  const over = new AbortController();
  let inTheWay: string | undefined;
  const waited = keeper
    .query(`create index concurrently ${INDEX} on ${schema}.${TABLE} (only_row)`)
    .finally(() => over.abort());
  const { processID } = keeper as pg.ClientBase & { processID?: number };
  const watched = (async () => {
    while (!over.signal.aborted) {
      if (signal.aborted) await tables.rows(CANCEL, [processID]);
      const [[found] = [null]] = await tables.rows<[string | null]>(BLOCKERS, [processID]);
      inTheWay = found ?? inTheWay;
      await pause(LOOK_EVERY_MS, undefined, { signal: over.signal });
    }
  })();
  watched.catch(() => {});
  try {
    await waited;
  } catch (error) {
    signal.throwIfAborted();
    if (sqlState(error) !== '57014') throw error;
    throw new StorageUnavailableError(
      `a transaction has been open since before the copy was made, and would miss what was copied: ${inTheWay ?? 'unknown'}. ` +
        `Wait for it, or end it; the same command then goes on (${Math.round(patienceMs / 1000)} s were waited)`,
      { cause: error },
    );
  } finally {
    await watched.catch(() => {});
    await keeper.query('reset statement_timeout');
  }
}

/**
 * Writers wait meanwhile, loads do not. All at once: a row that was moved stands under its old key and its new one, and cannot
 * be made under the one before it is gone under the other. How many there were.
 */
async function settleDoubts(site: Site, locks: BriefLocks): Promise<number> {
  const { tables, schema, live, next } = site;
  const [[left] = [0]] = await tables.rows<[number]>(once(`select count(*) from ${schema}.${DOUBTS}`), []);
  if (left === 0) return 0;
  const columns = (await columnsOf(tables, site)).join(', ');
  const theirs = `(${KEY}) in (select ${KEY} from ${schema}.${DOUBTS})`;
  const settle = async (session: Session) => {
    await locks.outvacuum(session, live);
    await session.rows(once(`lock table ${live} in share row exclusive mode`), []);
    await session.rows(once(`delete from ${next} where ${theirs}`), []);
    await session.rows(once(`insert into ${next} (${columns}) select ${columns} from ${live} where ${theirs}`), []);
    await session.rows(once(`delete from ${schema}.${DOUBTS}`), []);
  };
  await locks.take(fenced(site, settle));
  return left;
}

const BLOCKERS = once(
  `select string_agg('process ' || pid || coalesce(' (' || nullif(application_name, '') || ', ' || state || ')', ''), ', ')
   from pg_catalog.pg_stat_activity where pid = any (pg_catalog.pg_blocking_pids($1::int4))`,
);
