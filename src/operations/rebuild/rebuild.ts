/**
 * Turns lora_adapters into another shape while nodes go on: a new table beside it, writers that write to both, a copy in
 * batches, a comparison, a swap. It may be ended at any point, and goes on there when it is called again.
 */
import type pg from 'pg';
import { LoRAStorageError } from '../../errors.js';
import type { Session } from '../../postgres/database.js';
import { connect } from '../../postgres/lone-client.js';
import { leadsToPooler } from '../../postgres/pooler.js';
import { readFailure } from '../../tiers/postgres-errors.js';
import { ESTIMATED_ROWS } from '../statements/whole-tables.js';
import type { Tables } from '../tables.js';
import { beginStanding, enterPhase, fenced, readStanding, takeOver } from './bookkeeping.js';
import { BriefLocks } from './brief-lock.js';
import { compareRows } from './compare.js';
import { copyRows } from './copy.js';
import { mendPartitionTriggers } from './head-triggers.js';
import { startMirror } from './mirror.js';
import { addForeignKeys, buildNext } from './next-table.js';
import { refuseObstacles } from './obstacles.js';
import { outwaitOldSnapshots } from './old-snapshots.js';
import { refuseForeign, refuseOther, refuseTaken } from './refusals.js';
import { dropNext, dropReplaced } from './remains.js';
import { commandFor, readShape, type Shape } from './shape.js';
import { once, type Site, siteOf } from './site.js';
import { refuseAltered, swap } from './swap.js';

export interface RebuildOptions {
  readonly signal: AbortSignal;
  /** How long locks, and old transactions, are waited for. */
  readonly patienceMs: number;
  /** done: rows in this phase. about: of so many, as Postgres believes. */
  readonly onProgress?: (phase: 'copied' | 'compared', done: number, about: number) => void;
}

export interface Rebuilt {
  /** false: it is of that shape already. */
  readonly changed: boolean;
  /** Copied and compared. */
  readonly rows: number;
  /** Partitions whose triggers were not all there, where nothing else was to do. */
  readonly mended: number;
  /** The longest that a call of a node may have waited for a lock of this, in milliseconds. */
  readonly longestLockMs: number;
}

/** Any number: whoever works on a rebuild holds it, and a session that dies lets it go. */
const LOCK = 8_317_012_604_911_774n;

export async function rebuild(tables: Tables, target: Shape, options: RebuildOptions): Promise<Rebuilt> {
  return await alone(tables, async (site, keeper) => {
    const { signal, patienceMs, onProgress } = options;
    const locks = new BriefLocks(site, patienceMs, signal);
    let standing = await readStanding(site);
    if (standing?.phase === 'drop') {
      await dropReplaced(site, locks);
      standing = undefined;
    }
    refuseOther(standing, target);
    if ((await readShape(tables)).partitions === target.partitions) {
      const mended = await locks.take((session) => mendPartitionTriggers(session, site, locks));
      return { changed: false, rows: 0, mended, longestLockMs: locks.longestMs };
    }
    await tables.check();
    await refuseForeign(site);
    await refuseTaken(site, target, standing !== undefined);
    await refuseObstacles(tables);

    if (standing === undefined || standing.phase === 'build') {
      signal.throwIfAborted();
      const before = standing;
      await tables.transaction((session) => beginStanding(session, site, target, before));
      await buildNext(site, target, signal);
      // Locks in the order of every writer: users, then the bodies.
      const mirrored = async (session: Session) => {
        await locks.outvacuum(session, site.live);
        await addForeignKeys(session, site);
        await startMirror(session, site);
        await enterPhase(session, site, 'copy');
      };
      await locks.take(fenced(site, mirrored, 'build'));
      standing = { target, phase: 'copy', rows: 0 };
    }
    // Before a statement names a column that one of them has not: that would be taken for a schema of another version.
    await refuseAltered(tables, site);
    const about = Math.max(0, (await tables.rows<[number]>(ESTIMATED_ROWS, []))[0]?.[0] ?? 0);
    if (standing.phase === 'copy') {
      const rowLocks = new BriefLocks(site, patienceMs, signal);
      await copyRows(site, standing, signal, rowLocks, (rows) => onProgress?.('copied', rows, about));
      signal.throwIfAborted();
      await outwaitOldSnapshots(site, locks, keeper, options);
      await tables.transaction((session) => enterPhase(session, site, 'compare'));
      standing = { target, phase: 'compare', rows: 0 };
    }
    await refuseAltered(tables, site);
    const rows = await compareRows(site, standing, signal, (done) => onProgress?.('compared', done, about));
    signal.throwIfAborted();
    // The planner knows nothing of a table that nobody has counted. Of a large one that takes longer than a statement may.
    await tables.unhurried(once(`analyze ${site.next}`), signal);
    while (!(await locks.take(fenced(site, (session) => swap(session, site, locks, target), 'compare')))) {
      await outwaitOldSnapshots(site, locks, keeper, options);
    }
    await dropReplaced(site, locks);
    return { changed: true, rows, mended: 0, longestLockMs: locks.longestMs };
  });
}

/** Gives up a rebuild that is under way: lora_adapters stays what it is. False: there is none. */
export async function cancelRebuild(tables: Tables, { signal, patienceMs }: RebuildOptions): Promise<boolean> {
  return await alone(tables, async (site) => {
    const standing = await readStanding(site);
    if (standing === undefined) return false;
    if (standing.phase === 'drop') {
      throw new LoRAStorageError(
        `the new table is in its place already: \`${commandFor(standing.target)}\` ends with dropping the old one`,
      );
    }
    await dropNext(site, new BriefLocks(site, patienceMs, signal));
    return true;
  });
}

/** `work` while nobody else works on a rebuild of this database. keeper: the session whose end would let others in. */
async function alone<T>(tables: Tables, work: (site: Site, keeper: pg.ClientBase) => Promise<T>): Promise<T> {
  const { client: keeper, release } = await connect({ ...tables.config, application_name: 'lora-store partition' });
  try {
    if (await leadsToPooler(keeper)) {
      throw new LoRAStorageError("this needs a session of the server's own: connect to it, and not to a pooler");
    }
    const { rows } = await keeper.query<{ mine: boolean }>(`select pg_try_advisory_lock(${LOCK}) as mine`);
    if (!rows[0]?.mine) throw new LoRAStorageError(await atWork(tables));
    const site = await siteOf(tables);
    await takeOver(site);
    return await work(site, keeper);
  } catch (error) {
    throw readFailure(error);
  } finally {
    await Promise.resolve(release(true)).catch(() => undefined);
  }
}

/** Where a process was killed in the middle of a statement, its session holds the lock until that ends. */
async function atWork(tables: Tables): Promise<string> {
  const [[session] = ['nobody any more']] = await tables.rows<[string]>(
    once(`select 'session ' || l.pid || coalesce(' (' || a.state || ' since ' || a.state_change::timestamptz(0) || ')', '')
      from pg_catalog.pg_locks l left join pg_catalog.pg_stat_activity a on a.pid = l.pid
      where l.locktype = 'advisory' and l.granted and l.database = (select oid from pg_catalog.pg_database where datname = current_database())
        and (l.classid::int8 << 32) + l.objid::int8 = ${LOCK}`),
    [],
  );
  return (
    `another process is at work on this, ${session} of the server: wait for its end; if there is no such process any more, end its ` +
    'session with pg_terminate_backend()'
  );
}

/** One that was begun and has not ended; undefined where there is none, or nobody answers. */
export async function underWay(tables: Tables): Promise<Shape | undefined> {
  try {
    return (await readStanding(await siteOf(tables)))?.target;
  } catch {
    return undefined;
  }
}
