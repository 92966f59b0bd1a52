/**
 * What is left to drop: the table that was replaced, or a new one that was given up. Each of its steps may be the last one of a
 * process that is killed, and may be taken again.
 *
 * The replaced table is not kept. It would hold what users have since had forgotten, and take as much disk again; and there is no
 * way back to it, since it misses what was written after the swap: the way back is another rebuild.
 */
import type { Session } from '../../postgres/database.js';
import { endStanding, fenced } from './bookkeeping.js';
import type { BriefLocks } from './brief-lock.js';
import { dropSettlePartition } from './head-triggers.js';
import { stopMirror } from './mirror.js';
import { obey, once, type Site } from './site.js';

export async function dropReplaced(site: Site, locks: BriefLocks): Promise<void> {
  await dropTable(site, locks, site.replaced);
  await finish(site);
}

/** Gives a rebuild up that has not come to its swap. */
export async function dropNext(site: Site, locks: BriefLocks): Promise<void> {
  const stop = async (session: Session) => {
    await locks.outvacuum(session, site.live);
    await stopMirror(session, site);
  };
  await locks.take(fenced(site, stop));
  await dropTable(site, locks, site.next);
  await finish(site);
}

async function finish(site: Site): Promise<void> {
  const work = async (session: Session) => {
    const [[partitioned] = [false]] = await session.rows<[boolean]>(
      once(`select relkind = 'p' from pg_catalog.pg_class where oid = '${site.live}'::regclass`),
      [],
    );
    if (!partitioned) await dropSettlePartition(session, site);
    await endStanding(session, site);
  };
  await site.tables.transaction(fenced(site, work));
}

/** The foreign key first, and alone: that locks `users`. A partition at a time, since each takes locks until it is committed. */
async function dropTable(site: Site, locks: BriefLocks, table: string): Promise<void> {
  const { tables, schema } = site;
  const take = async (locked: string, work: (session: Session) => Promise<unknown>) => {
    const unlocked = async (session: Session) => {
      await locks.outvacuum(session, locked);
      await work(session);
    };
    await locks.take(fenced(site, unlocked), table);
  };
  if (!(await isThere(tables, table))) return;
  await take(table, (session) =>
    obey(
      session,
      `select format('alter table ${table} drop constraint %I', conname) from pg_catalog.pg_constraint
       where conrelid = '${table}'::regclass and contype = 'f' and conparentid = 0`,
    ),
  );
  const partitions = await tables.rows<[string]>(
    once(`select format('${schema}.%I', c.relname) from pg_catalog.pg_inherits i join pg_catalog.pg_class c on c.oid = i.inhrelid
      where i.inhparent = '${table}'::regclass order by 1`),
    [],
  );
  for (const [partition] of partitions) {
    await take(`only ${table}, ${partition}`, (session) => session.rows(once(`drop table ${partition}`), []));
  }
  await take(table, (session) => session.rows(once(`drop table ${table}`), []));
}

async function isThere(session: Session, table: string): Promise<boolean> {
  const [[there] = [false]] = await session.rows<[boolean]>(
    once(`select pg_catalog.to_regclass('${table}') is not null`),
    [],
  );
  return there;
}
