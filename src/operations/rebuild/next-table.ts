/**
 * The new table, made beside the live one: its columns, defaults, checks, comments, settings, rights and foreign keys are
 * those of the live table; its indexes are those of its shape. The names it needs are taken only in the swap.
 */
import type { Session } from '../../postgres/database.js';
import { fenced } from './bookkeeping.js';
import { createPartitionTriggers, createSettlePartition } from './head-triggers.js';
import { partitionName, type Shape } from './shape.js';
import { obey, once, type Site } from './site.js';

/** Each takes locks on a table and its indexes until it is committed, of which a server has a bounded number. */
const PARTITIONS_AT_ONCE = 16;

interface Index {
  readonly during: string;
  readonly after: string;
  /** What follows `alter table …`, or `create index … on …`. */
  readonly constraint?: string;
  readonly columns?: string;
}

/** Every unique one of a partitioned table holds user_id: Postgres asks for that, and so would Citus. */
export function indexesOf({ partitions }: Shape): Index[] {
  const plain = partitions === 0;
  return [
    {
      ...{ during: 'lora_adapters_next_pkey', after: 'lora_adapters_pkey' },
      constraint: plain ? 'primary key (id)' : 'primary key (user_id, id)',
    },
    {
      ...{ during: 'lora_adapters_next_key', after: 'lora_adapters_user_id_adapter_name_version_key' },
      constraint: 'unique (user_id, adapter_name, version)',
    },
    {
      ...{ during: 'lora_adapters_next_name_version', after: 'idx_lora_adapters_user_name_version' },
      columns: 'user_id, adapter_name, version desc',
    },
    {
      ...{ during: 'lora_adapters_next_updated', after: 'idx_lora_adapters_user_updated' },
      columns: 'user_id, updated_at desc',
    },
    { during: 'lora_adapters_next_created', after: 'idx_lora_adapters_created', columns: 'created_at desc' },
    // Who knows a row by its id alone looks into every partition; without this he would read them.
    ...(plain ? [] : [{ during: 'lora_adapters_next_id', after: 'idx_lora_adapters_id', columns: 'id' }]),
  ];
}

/** All but foreign keys, which lock `users`. */
export async function buildNext(site: Site, target: Shape, signal: AbortSignal): Promise<void> {
  const { tables, schema, live, next } = site;
  const by = target.partitions === 0 ? '' : ' partition by hash (user_id)';
  const whole = async (session: Session) => {
    const run = (text: string) => session.rows(once(text), []);
    await run(`drop table if exists ${next}`);
    await useTablespaceOf(session);
    await run(
      `create table ${next} (like ${live} including all excluding indexes excluding identity excluding statistics)${by}`,
    );
    for (const { during, constraint, columns } of indexesOf(target)) {
      if (constraint === undefined) await run(`create index ${during} on ${next} (${columns})`);
      else await run(`alter table ${next} add constraint ${during} ${constraint}`);
    }
    if (target.partitions === 0) await settingsOf(session, next);
    else await createSettlePartition(session, site);
    await revokeDefaults(session, next);
    await obey(
      session,
      `select format('comment on table ${next} is %L', pg_catalog.obj_description('${live}'::regclass, 'pg_class'))`,
    );
  };
  await tables.transaction(fenced(site, whole));
  for (let first = 0; first < target.partitions; first += PARTITIONS_AT_ONCE) {
    signal.throwIfAborted();
    const some = async (session: Session) => {
      await useTablespaceOf(session);
      for (let n = first; n < Math.min(target.partitions, first + PARTITIONS_AT_ONCE); n++) {
        const partition = `${schema}.${partitionName(target, n)}`;
        const bounds = `for values with (modulus ${target.partitions}, remainder ${n})`;
        await session.rows(once(`create table ${partition} partition of ${next} ${bounds}`), []);
        await settingsOf(session, partition);
        await revokeDefaults(session, partition);
        await createPartitionTriggers(session, site, partition);
      }
    };
    await tables.transaction(fenced(site, some));
  }
}

/**
 * As they were found, ON DELETE CASCADE or not. Locks what they refer to. conparentid: where that is partitioned itself, Postgres
 * has made another one for each of its partitions, which alone would refuse the users of all others.
 */
export async function addForeignKeys(session: Session, { live, next }: Site): Promise<void> {
  await obey(
    session,
    `select format('alter table ${next} add constraint %I %s', conname, pg_catalog.pg_get_constraintdef(oid))
     from pg_catalog.pg_constraint where conrelid = '${live}'::regclass and contype = 'f' and conparentid = 0 order by conname`,
  );
}

/** Whoever may do something with the live table may do it with the new one. */
export async function copyRights(session: Session, { live, next }: Site): Promise<void> {
  const right = (what: string) =>
    `format('grant %s on table ${next} to %s%s', ${what},
       case grantee when 0 then 'public' else quote_ident(pg_catalog.pg_get_userbyid(grantee)) end,
       case when is_grantable then ' with grant option' else '' end)`;
  await obey(
    session,
    `select ${right('privilege_type')}
     from pg_catalog.pg_class, pg_catalog.aclexplode(relacl) where oid = '${live}'::regclass and grantee <> relowner
     union all
     select ${right(`format('%s (%I)', privilege_type, attname)`)}
     from pg_catalog.pg_attribute, pg_catalog.aclexplode(attacl) where attrelid = '${live}'::regclass and not attisdropped
     union all
     -- What the owner has taken from himself, as he may TRUNCATE.
     select format('revoke %s on table ${next} from %I', own.privilege_type, pg_catalog.pg_get_userbyid(relowner))
     from pg_catalog.pg_class, pg_catalog.aclexplode(pg_catalog.acldefault('r', relowner)) as own
     where oid = '${live}'::regclass and relacl is not null and not exists (
       select from pg_catalog.aclexplode(relacl) as has where has.grantee = relowner and has.privilege_type = own.privilege_type)`,
  );
}

/** Of the live table, or of its first partition: a partitioned table has none itself. */
const SETTINGS_FROM = `(
  select oid from pg_catalog.pg_class where oid = (
    select coalesce((select min(inhrelid::oid) from pg_catalog.pg_inherits where inhparent = c.oid), c.oid)
    from pg_catalog.pg_class c where c.oid = 'lora_adapters'::regclass))`;

/** fillfactor, autovacuum and such, those of the TOAST table too. */
async function settingsOf(session: Session, table: string): Promise<void> {
  await obey(
    session,
    `select format('alter table ${table} set (%s = %L)', name, option_value) from (
       select quote_ident(option_name) as name, option_value
       from pg_catalog.pg_class, pg_catalog.pg_options_to_table(reloptions) where oid = ${SETTINGS_FROM}
       union all
       select 'toast.' || quote_ident(option_name), option_value
       from pg_catalog.pg_class, pg_catalog.pg_options_to_table(reloptions)
       where oid = (select reltoastrelid from pg_catalog.pg_class where oid = ${SETTINGS_FROM})
     ) as options`,
  );
}

/** ALTER DEFAULT PRIVILEGES may have given rights on the new table that nobody has on the live one, or taken some from its owner. */
async function revokeDefaults(session: Session, table: string): Promise<void> {
  await obey(
    session,
    `select case grantee when relowner then format('grant all on table ${table} to %I', pg_catalog.pg_get_userbyid(grantee))
       else format('revoke all on table ${table} from %s',
         case grantee when 0 then 'public' else quote_ident(pg_catalog.pg_get_userbyid(grantee)) end) end
     from pg_catalog.pg_class, pg_catalog.aclexplode(relacl) where oid = '${table}'::regclass`,
  );
}

async function useTablespaceOf(session: Session): Promise<void> {
  await session.rows(
    once(`select set_config('default_tablespace', coalesce((
      select spcname::text from pg_catalog.pg_tablespace t join pg_catalog.pg_class c on c.reltablespace = t.oid
      where c.oid = ${SETTINGS_FROM}), ''), true)`),
    [],
  );
}
