/**
 * What this version needs to find in the database, asked in one query: tables, columns with their types, and triggers
 * that are enabled and run the function they should. Asked through the search_path, as every later statement will be.
 */
import { SchemaError } from '../errors.js';

/** Rows as arrays of columns, whatever runs the query. */
export type Query = (text: string) => Promise<readonly (readonly unknown[])[]>;

const COLUMNS = {
  users: { id: 'uuid' },
  lora_adapters: {
    id: 'uuid',
    user_id: 'uuid',
    adapter_name: 'character varying(100)',
    version: 'integer',
    weights: 'bytea',
    checksum: 'bigint',
    size_bytes: 'bigint',
    training_iterations: 'integer',
    created_at: 'timestamp with time zone',
    updated_at: 'timestamp with time zone',
  },
  lora_adapter_heads: {
    user_id: 'uuid',
    adapter_name: 'character varying(100)',
    last_version: 'integer',
    latest_version: 'integer',
    revision: 'bigint',
  },
} as const;

const TRIGGERS = {
  lora_adapters: {
    lora_adapters_touch: 'lora_adapters_touch',
    lora_adapters_clear_checksum: 'lora_adapters_clear_checksum',
    lora_adapters_lock_head: 'lora_adapters_lock_head',
    lora_adapters_settle_insert: 'lora_adapters_settle_heads',
    lora_adapters_settle_update: 'lora_adapters_settle_heads',
    lora_adapters_settle_delete: 'lora_adapters_settle_heads',
    lora_adapters_settle_truncate: 'lora_adapters_settle_heads',
  },
  lora_adapter_heads: {
    lora_adapter_heads_notify_insert: 'lora_adapter_heads_notify',
    lora_adapter_heads_notify_update: 'lora_adapter_heads_notify',
    lora_adapter_heads_notify_delete: 'lora_adapter_heads_notify',
  },
} as const;

/** `(table, name, detail)` rows for a VALUES list. The words are all ours: nothing needs escaping. */
function values(tables: Readonly<Record<string, Readonly<Record<string, string>>>>): string {
  return Object.entries(tables)
    .flatMap(([table, details]) =>
      Object.entries(details).map(([name, detail]) => `('${table}','${name}','${detail}')`),
    )
    .join(', ');
}

/** Those whose statement may name a partition: what fires for each row, Postgres clones; the rest `lora-store partition` makes. */
const PARTITION_TRIGGERS = {
  ...TRIGGERS.lora_adapters,
  lora_adapters_settle_truncate: 'lora_adapters_settle_partition',
} as const;

/**
 * One row a missing thing, the first one first, and what mends it, if it is not migrate; a table that is missing stands for all
 * that belongs to it. One that another schema has was not forgotten: migrated here, it would be empty.
 */
export const MISSING = `
  with tables as (
    select name, to_regclass(name) as id
    from (values ${Object.keys(COLUMNS)
      .map((name) => `('${name}')`)
      .join(', ')}) as need (name)
  )
  select missing, mend from (
    select 1 as place, 'table ' || name || pg_catalog.format(' in schema %I of database %I', current_schema(), current_database()) as missing,
      (select pg_catalog.format('set search_path to %I', nspname)
       from pg_catalog.pg_class as c join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
       where relname = name and name <> 'users' and relkind in ('r', 'p') limit 1) as mend
    from tables where id is null
    union all
    select 2, 'column ' || need.tab || '.' || need.name || ' of type ' || need.type, null
    from (values ${values(COLUMNS)}) as need (tab, name, type)
    join tables on tables.name = need.tab and tables.id is not null
    left join pg_catalog.pg_attribute as a on a.attrelid = tables.id and a.attname = need.name and not a.attisdropped
    where a.attnum is null or pg_catalog.format_type(a.atttypid, a.atttypmod) <> need.type
    union all
    select 3, 'trigger ' || need.name || ' on ' || need.tab || case when t.tgname is null then '' else ', which is disabled' end,
      case when t.tgname is not null
        then 'alter table ' || need.tab || ' enable trigger ' || need.name end
    from (values ${values(TRIGGERS)}) as need (tab, name, func)
    join tables on tables.name = need.tab and tables.id is not null
    left join (pg_catalog.pg_trigger as t join pg_catalog.pg_proc as p on p.oid = t.tgfoid)
      on t.tgrelid = tables.id and t.tgname = need.name and p.proname = need.func
    where t.tgenabled is null or t.tgenabled not in ('O', 'A')
    union all
    select 4, 'trigger ' || need.name || ' on partition ' || leaf.relname,
      'npx lora-store partition --by hash --count ' || (select count(*) from pg_catalog.pg_inherits where inhparent = tables.id)
    from (values ${values({ lora_adapters: PARTITION_TRIGGERS })}) as need (tab, name, func)
    join tables on tables.name = need.tab
    join (pg_catalog.pg_inherits as i join pg_catalog.pg_class as leaf on leaf.oid = i.inhrelid) on i.inhparent = tables.id
    left join (pg_catalog.pg_trigger as t join pg_catalog.pg_proc as p on p.oid = t.tgfoid)
      on t.tgrelid = leaf.oid and t.tgname = need.name and p.proname = need.func
    where t.tgenabled is null or t.tgenabled not in ('O', 'A')
  ) as found
  order by place, missing`;

/** Rejects with a SchemaError that names the first thing that is missing, and what to do about it. */
export async function checkSchema(query: Query): Promise<void> {
  const missing = await query(MISSING);
  const [[first, mend] = []] = missing;
  if (first === undefined) return;
  const more = missing.length === 1 ? '' : ` (and ${missing.length - 1} more)`;
  throw new SchemaError(`the database is without ${first}${more}: ${remedy(mend)}`);
}

function remedy(mend: unknown = null): string {
  if (mend === null) return 'run `npx lora-store migrate up`';
  const [, schema] = /^set search_path to (.*)$/.exec(String(mend)) ?? [];
  if (schema !== undefined) return `schema ${schema} has it, and has to be in the search_path`;
  return String(mend).startsWith('npx ') ? `run \`${mend}\`` : `in psql run \`${mend}\``;
}
