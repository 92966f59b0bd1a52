/**
 * The schema as text, from the catalogs: the same on every PostgreSQL from 13 on, whoever owns it and whichever way it
 * came about. pg_dump, where there is one, writes its version into what it writes.
 */
import type { ClientBase } from 'pg';

const RELATIONS = `'users', 'lora_adapters', 'lora_adapter_heads', 'lora_store_primary'`;

const SQL = `
  with relation as (
    select oid, relname, reloptions, relkind, array_position(array[${RELATIONS}], relname::text) as place
    from pg_class where relnamespace = current_schema()::regnamespace and relname in (${RELATIONS})
  )
  select part from (
    select place, 1 as rank, '' as name,
      E'\\n-- table ' || relname || coalesce(' with (' || array_to_string(reloptions, ', ') || ')', '')
        || coalesce(E'\\n--   ' || obj_description(oid, 'pg_class'), '') as part
    from relation
    union all
    select place, 2, to_char(attnum, '000'),
      '  ' || attname || ' ' || format_type(atttypid, atttypmod)
        || case when attnotnull then ' not null' else '' end
        || coalesce(' default ' || pg_get_expr(adbin, adrelid), '')
        || case when attstorage <> typstorage then ' storage ' || attstorage::text else '' end
    from relation join pg_attribute on attrelid = relation.oid and attnum > 0 and not attisdropped
    join pg_type on pg_type.oid = atttypid
    left join pg_attrdef on adrelid = attrelid and adnum = attnum
    union all
    -- From 18 on NOT NULL is a constraint as well; the columns say it.
    select place, 3, conname, '  constraint ' || conname || ' ' || pg_get_constraintdef(pg_constraint.oid)
    from relation join pg_constraint on conrelid = relation.oid and contype <> 'n'
    union all
    select place, 4, indexrelid::regclass::text, pg_get_indexdef(indexrelid) || ';'
    from relation join pg_index on indrelid = relation.oid
    where not exists (select from pg_constraint where conindid = indexrelid and conrelid = indrelid)
    union all
    select place, 5, tgname, pg_get_triggerdef(pg_trigger.oid) || ';' || case tgenabled when 'O' then '' else ' -- ' || tgenabled::text end
    from relation join pg_trigger on tgrelid = relation.oid and not tgisinternal
    union all
    select 10, 6, proname, E'\\n' || pg_get_functiondef(oid) || ';'
      || case when has_function_privilege('public', oid, 'execute') then '' else ' -- not for public' end
      || coalesce(E'\\n--   ' || obj_description(oid, 'pg_proc'), '')
    from pg_proc where pronamespace = current_schema()::regnamespace and proname like 'lora\\_%'
  ) as parts
  order by place, rank, name collate "C"`;

export async function dumpSchema(client: ClientBase): Promise<string> {
  const { rows } = await client.query<{ part: string }>(SQL);
  return `${rows.map(({ part }) => part).join('\n')}\n`.trimStart();
}
