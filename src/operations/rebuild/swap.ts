/**
 * The swap: in one transaction, under locks that nobody else holds, the new table takes the name of the live one, with its
 * indexes' names and its triggers. Whoever waits for the lock, and every prepared plan, looks the name up again and finds it.
 */
import { LoRAStorageError } from '../../errors.js';
import type { Session } from '../../postgres/database.js';
import { DOUBTS, enterPhase } from './bookkeeping.js';
import type { BriefLocks } from './brief-lock.js';
import { refuseUnmirrored, stopMirror } from './mirror.js';
import { copyRights, indexesOf } from './next-table.js';
import { refuseObstacles } from './obstacles.js';
import type { Shape } from './shape.js';
import { obey, once, runAll, type Site } from './site.js';

/** False: a row has come into doubt meanwhile, and nothing was done. */
export async function swap(session: Session, site: Site, locks: BriefLocks, target: Shape): Promise<boolean> {
  const { schema, live, next } = site;
  await locks.outvacuum(session, live, next);
  await lockUsers(session, site);
  // Of a partitioned table, this locks its partitions, too.
  await session.rows(once(`lock table ${live}, ${next} in access exclusive mode`), []);
  const [[doubts] = [0]] = await session.rows<[number]>(once(`select count(*) from ${schema}.${DOUBTS}`), []);
  if (doubts > 0) return false;
  await refuseObstacles(session);
  await refuseAltered(session, site);
  await refuseUnmirrored(session, site);
  await copyRights(session, site);

  const triggers = await session.rows<[definition: string, name: string, always: boolean]>(
    once(`select pg_catalog.pg_get_triggerdef(oid), tgname::text, tgenabled = 'A' from pg_catalog.pg_trigger
      where tgrelid = '${live}'::regclass and not tgisinternal and tgname not like 'lora\\_store\\_rebuild%' order by tgname`),
    [],
  );
  await stopMirror(session, site);
  await putAside(session, site);
  await dropHoldingKeys(session, site);
  await runAll(session, [
    `alter table ${next} rename to lora_adapters`,
    ...indexesOf(target).map(({ during, after }) => `alter index ${schema}.${during} rename to ${after}`),
    ...triggers.map(([definition]) => definition),
    ...triggers.flatMap(([, name, always]) => (always ? `alter table ${live} enable always trigger ${name}` : [])),
  ]);
  await enterPhase(session, site, 'drop');
  return true;
}

/** Partitions as well: whoever names one gets an error, and does not write where nobody will look. */
async function putAside(session: Session, { schema, live, replaced }: Site): Promise<void> {
  await obey(
    session,
    `select format('alter index ${schema}.%I rename to %I', c.relname, 'lora_adapters_replaced_i' || row_number() over (order by c.oid))
     from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid where i.indrelid = '${live}'::regclass
     union all
     select format('alter table ${schema}.%I rename to %I', c.relname, 'lora_adapters_replaced_p' || row_number() over (order by c.oid))
     from pg_catalog.pg_inherits i join pg_catalog.pg_class c on c.oid = i.inhrelid where i.inhparent = '${live}'::regclass
     union all
     select 'alter table ${live} rename to ${replaced.slice(schema.length + 1)}'`,
  );
}

/**
 * What dropHoldingKeys() locks, in the order of every saver: who holds it and waits for the bodies would be waited for in vain. A role
 * that may not has to do without, and to meet a moment in which nobody saves.
 */
async function lockUsers(session: Session, { live }: Site): Promise<void> {
  await obey(
    session,
    `select distinct format('lock table %s in access exclusive mode', confrelid::regclass) from pg_catalog.pg_constraint
     where conrelid = '${live}'::regclass and contype = 'f' and conparentid = 0 and confdeltype <> 'c'
       and has_table_privilege(confrelid, 'UPDATE, DELETE, TRUNCATE')`,
  );
}

/**
 * Of foreign keys, those by which rows that nobody sees any more would keep their users from being deleted, until the old table is
 * dropped. The ordinary one, ON DELETE CASCADE, stays until then: dropping it locks `users`.
 */
async function dropHoldingKeys(session: Session, { replaced }: Site): Promise<void> {
  await obey(
    session,
    `select format('alter table ${replaced} drop constraint %I', conname) from pg_catalog.pg_constraint
     where conrelid = '${replaced}'::regclass and contype = 'f' and conparentid = 0 and confdeltype <> 'c'`,
  );
}

/** What came, went or changed since the new table was made would be lost, or make every load fail. */
export async function refuseAltered(session: Session, { live, next }: Site): Promise<void> {
  // attcompression: since 14.
  const columns = (table: string) => `
    select a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.attstorage, to_jsonb(a) ->> 'attcompression', a.attcollation,
      pg_catalog.pg_get_expr(d.adbin, d.adrelid), pg_catalog.col_description(a.attrelid, a.attnum)
    from pg_catalog.pg_attribute a left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where a.attrelid = '${table}'::regclass and a.attnum > 0 and not a.attisdropped`;
  const constraints = (table: string) => `
    select conname::text, pg_catalog.pg_get_constraintdef(oid),
      case contype when 'c' then pg_catalog.obj_description(oid, 'pg_constraint') end
    from pg_catalog.pg_constraint where conrelid = '${table}'::regclass and contype in ('c', 'f') and conparentid = 0`;
  const whole = (table: string) => `
    select relowner, pg_catalog.obj_description(oid, 'pg_class') from pg_catalog.pg_class where oid = '${table}'::regclass`;
  // Of a partitioned table, those of its partitions.
  const settings = (table: string) => `
    select c.reltablespace, array(select unnest(c.reloptions) order by 1), array(select unnest(t.reloptions) order by 1)
    from pg_catalog.pg_class c left join pg_catalog.pg_class t on t.oid = c.reltoastrelid
    where c.relkind = 'r' and (c.oid = '${table}'::regclass
      or c.oid in (select inhrelid from pg_catalog.pg_inherits where inhparent = '${table}'::regclass))`;
  const differs = (of: (table: string) => string) => `
    exists ((${of(live)} except ${of(next)}) union all (${of(next)} except ${of(live)}))`;
  const [[altered] = [false]] = await session.rows<[boolean]>(
    once(`select ${[columns, constraints, whole, settings].map(differs).join(' or ')}`),
    [],
  );
  if (!altered) return;
  throw new LoRAStorageError(
    'lora_adapters was altered since the new table was made, for which saves may fail until that one is gone: take it away with ' +
      '`lora-store partition --cancel`, and begin again',
  );
}
