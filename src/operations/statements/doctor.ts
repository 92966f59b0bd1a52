/** The SQL of doctor: settings, sessions, indexes, statistics, and the plan of a load. */
import { type Statement, statement } from '../../postgres/database.js';
import { LOAD } from '../../tiers/statements.js';
import { LEAVES } from './whole-tables.js';

export const SETTINGS = statement(
  'settings',
  `select name, setting, source from pg_catalog.pg_settings
   where name in ('server_version_num', 'server_version', 'fsync', 'full_page_writes', 'synchronous_commit', 'max_connections',
     'superuser_reserved_connections', 'enable_indexscan', 'enable_bitmapscan', 'default_transaction_read_only')`,
);

/** Who we are: database, role, whether over the network, and in which TLS, if in one. */
export const SESSION = statement(
  'session',
  `select current_database()::text, current_user::text,
     coalesce(not (host(inet_client_addr())::inet <<= '127.0.0.0/8' or host(inet_client_addr())::inet = '::1'), false),
     (select version from pg_catalog.pg_stat_ssl where pid = pg_backend_pid())`,
);

/** Whether it is a standby, whether it takes writes, and of a standby, for whoever may know, whom it follows. */
export const STANDBY = statement(
  'standby',
  `select pg_is_in_recovery(), current_setting('transaction_read_only') = 'on',
     (select sender_host from pg_catalog.pg_stat_wal_receiver), (select sender_port from pg_catalog.pg_stat_wal_receiver)`,
);

/** $1 of what, $2 rights, $3 columns or null: a row for each, whether this role has it. Null: there is no such thing. */
export const RIGHTS = statement(
  'rights',
  `select case
     when need.what like '%()' then has_function_privilege(to_regprocedure(need.what), need.privilege)
     when need.col is null then has_table_privilege(to_regclass(need.what), need.privilege)
     else has_column_privilege(to_regclass(need.what), need.col, need.privilege) end
   from unnest($1::text[], $2::text[], $3::text[]) with ordinality as need (what, privilege, col, place)
   order by need.place`,
);

/**
 * Connections of all clients, nodes, of which each has an ear, and of the former those of whom this role may not know more than
 * whose they are and where. Who is of no user is a process of the server's own.
 */
export const CONNECTIONS = statement(
  'connections',
  `select count(*), count(*) filter (where application_name = 'lora-store change feed'),
     count(*) filter (where backend_type is null)
   from pg_catalog.pg_stat_activity
   where datid is not null and usesysid is not null and coalesce(backend_type, 'client backend') = 'client backend'`,
);

/** What loads, lists and prunes look rows up by: the statement that makes it, and 'there', 'missing' or 'invalid'. */
export const INDEXES = statement(
  'indexes',
  `with keys as (
     select i.indrelid, i.indisunique, i.indisvalid, i.indexrelid,
       (select string_agg(a.attname, ', ' order by a.attname) from pg_catalog.pg_attribute a
        where a.attrelid = i.indrelid and a.attnum = any (i.indkey[0:i.indnkeyatts - 1])) as columns
     from pg_catalog.pg_index i
     where i.indrelid in ('lora_adapters'::regclass, 'lora_adapter_heads'::regclass) and i.indpred is null
   )
   select need.name,
     case when (select relkind from pg_catalog.pg_class where oid = need.tab) = 'p'
       then replace(need.make, 'concurrently ', '') else need.make end,
     case when max(k.indexrelid) is null then 'missing'
     when bool_or(k.indisvalid) then 'there' else 'invalid' end, coalesce(min(k.indexrelid)::regclass::text, '')
   from (values
     (1, 'lora_adapters (user_id, adapter_name, version)', 'lora_adapters'::regclass, 'adapter_name, user_id, version', true,
      'alter table lora_adapters add unique (user_id, adapter_name, version)'),
     (2, 'lora_adapter_heads (user_id, adapter_name)', 'lora_adapter_heads'::regclass, 'adapter_name, user_id', true,
      'alter table lora_adapter_heads add primary key (user_id, adapter_name)'),
     (3, 'lora_adapters (user_id, updated_at)', 'lora_adapters'::regclass, 'updated_at, user_id', false,
      'create index concurrently idx_lora_adapters_user_updated on lora_adapters (user_id, updated_at desc)'),
     (4, 'lora_adapters (created_at)', 'lora_adapters'::regclass, 'created_at', false,
      'create index concurrently idx_lora_adapters_created on lora_adapters (created_at desc)')
   ) as need (place, name, tab, columns, uniq, make)
   left join keys k on k.indrelid = need.tab and k.columns = need.columns and (k.indisunique or not need.uniq)
   group by need.place, need.name, need.make, need.tab order by need.place`,
);

/** What kind of relation lora_adapters is, its partitions, and the bookkeeping of a rebuild, where there is one. */
export const PARTITIONS = statement(
  'partitions',
  `select relkind::text, (select count(*)::int4 from pg_catalog.pg_inherits where inhparent = c.oid),
     to_regclass('lora_store_rebuild')::text
   from pg_catalog.pg_class c where c.oid = 'lora_adapters'::regclass`,
);

export const WEIGHTS_STORAGE = statement(
  'weights_storage',
  `select attstorage::text from pg_catalog.pg_attribute where attrelid = 'lora_adapters'::regclass and attname = 'weights'`,
);

/**
 * Both tables and what lies outside their rows, a row for each partition of them: whose it is, its name, rows as the planner
 * believes, live, dead, changed since it counted, last vacuum.
 */
export const TABLE_STATISTICS = statement(
  'table_statistics',
  `with leaves as (
     select 'lora_adapters' as of, oid, reltoastrelid from pg_catalog.pg_class where oid in ${LEAVES}
     union all select 'lora_adapter_heads', 'lora_adapter_heads'::regclass, 0
   )
   select l.of, c.relname::text, c.reltuples::int8, s.n_live_tup, s.n_dead_tup, s.n_mod_since_analyze,
     coalesce(greatest(s.last_vacuum, s.last_autovacuum)::text, 'never')
   from (select of, oid from leaves
         union all select 'the TOAST table of lora_adapters', reltoastrelid from leaves where of = 'lora_adapters') as l
   join pg_catalog.pg_class c on c.oid = l.oid join pg_catalog.pg_stat_all_tables s on s.relid = c.oid
   order by 1, 2`,
);

/** $1 user: adapters that exist, from there on. */
export const SOME_ADAPTERS = statement(
  'some_adapters',
  `select user_id, adapter_name from lora_adapter_heads
   where latest_version is not null and user_id >= $1::uuid order by user_id limit 100`,
);

/** As LOAD. */
export const EXPLAIN_LOAD = statement('explain_load', `explain (format json) ${LOAD.text}`);

export const CLOCK = statement('clock', 'select (extract(epoch from clock_timestamp()) * 1000)::float8');

/** The column tells in which format it came. */
export const RESULT_FORMAT = {
  ...statement('result_format', 'select 1'),
  types: { getTypeParser: (_: number, format?: string) => () => format ?? 'text' },
} as Statement;
