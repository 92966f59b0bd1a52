/** The SQL of operations over many rows, which no load or save waits for. */
import { type Statement, statement } from '../postgres/database.js';
import { ADAPTERS, beyondNewest, LOAD, olderThan, RECORDS } from '../tiers/statements.js';

const topUsers = (column: number) =>
  `select user_id, count(*), count(distinct adapter_name), sum(size_bytes)::int8, max(updated_at)
   from lora_adapters group by user_id order by ${column} desc, user_id limit $1`;

/** $1 how many. The users with most versions first. */
export const TOP_USERS_BY_VERSIONS = statement('top_users_by_versions', topUsers(2));
/** $1 how many. The users with most bytes first. */
export const TOP_USERS_BY_BYTES = statement('top_users_by_bytes', topUsers(4));

// ── export, import, archive ──

/** The database, the schema of the adapters, and whether SYSTEM_IDENTIFIER may be asked: it would fail even unread. */
export const SOURCE = statement(
  'source',
  `select current_database()::text, relnamespace::regnamespace::text,
     has_function_privilege('pg_catalog.pg_control_system()', 'execute')
   from pg_catalog.pg_class where oid = 'lora_adapters'::regclass`,
);
/** Of the cluster since its initdb, and of its replicas. */
export const SYSTEM_IDENTIFIER = statement(
  'system_identifier',
  'select system_identifier::text from pg_catalog.pg_control_system()',
);

const exactTime = (column: string) =>
  `to_char(greatest(least(${column}, '9999-12-31'), '0001-01-01') at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;

/**
 * $1 user, $2 name, $3 version: the key to go on after. $4 the last user. $5 a name or null, $6 latest versions only. $7 keys and
 * $8 bytes at most, but one row. Rows that are not wanted come without weights: however few are, no page takes long.
 */
export const VERSIONS_AFTER = statement(
  'versions_after',
  `select mark, user_id, adapter_name, version, case when wanted then weights end, checksum, training_iterations,
     ${exactTime('created_at')}, ${exactTime('updated_at')}
   from (
     select *, sum(length) over (order by user_id, adapter_name, version rows unbounded preceding) - length as before
     from (
       select *, case when wanted then octet_length(weights) else 0 end as length
       from (
         select a.*, a.xmin::text as mark, ($5::varchar is null or a.adapter_name = $5) and (not $6::bool or a.version = (
             select h.latest_version from lora_adapter_heads h
             where h.user_id = a.user_id and h.adapter_name = a.adapter_name)) as wanted
         from lora_adapters a
         where (a.user_id, a.adapter_name, a.version) > ($1::uuid, $2::varchar, $3::int4) and a.user_id <= $4::uuid
         order by a.user_id, a.adapter_name, a.version limit $7::int4
       ) keys
     ) sized
   ) page
   where before < $8::int8 order by user_id, adapter_name, version`,
);

// What import writes takes its locks as every other write does: the users' rows, the bodies, the heads (by triggers).

/** $1 users. Those that are there, kept there. */
export const LOCK_USERS = statement(
  'lock_users',
  'select id from users where id = any($1::uuid[]) order by id for key share',
);
/** $1 users. */
export const CREATE_USERS = statement(
  'create_users',
  'insert into users (id) select id from unnest($1::uuid[]) as given(id) order by id on conflict (id) do nothing',
);
/**
 * $1 users, $2 names, $3 versions. Those that are there: which transaction wrote each, a digest of its bytes, and what else is
 * known of it. A delete of them is waited for.
 */
export const LOCK_VERSIONS = statement(
  'lock_versions',
  `select a.user_id, a.adapter_name, a.version, a.xmin::text, sha256(a.weights), a.training_iterations,
     ${exactTime('a.created_at')}, ${exactTime('a.updated_at')}
   from unnest($1::uuid[], $2::varchar[], $3::int4[]) k(user_id, adapter_name, version)
   join lora_adapters a using (user_id, adapter_name, version)
   order by a.user_id, a.adapter_name, a.version for share of a`,
);
/**
 * $1 user, $2 name, $3 version, $4 record, $5 its checksum, $6 training iterations, $7 created, $8 updated. The transaction that
 * wrote it, as LOCK_VERSIONS has it. No row: it is there.
 */
export const INSERT_VERSION = statement(
  'insert_version',
  `insert into lora_adapters
     (user_id, adapter_name, version, weights, checksum, size_bytes, training_iterations, created_at, updated_at)
   values ($1, $2, $3, $4::bytea, $5, octet_length($4::bytea), $6, $7, $8)
   on conflict (user_id, adapter_name, version) do nothing
   returning pg_current_xact_id()::xid::text`,
);

/** $1 seconds. */
export const TIME_BEFORE = statement('time_before', 'select now() - make_interval(secs => $1::float8)');
/**
 * $1 the user to go on after, $2 a time, $3 users at most. Users with adapters, and whether none of them was saved since: each
 * is one look into the index, so that no page takes long, however few are inactive.
 */
export const USERS_SINCE = statement(
  'users_since',
  `select u.user_id, (
     select a.updated_at from lora_adapters a where a.user_id = u.user_id order by a.updated_at desc limit 1
   ) < $2::timestamptz
   from (
     select distinct user_id from lora_adapter_heads
     where user_id > $1::uuid and latest_version is not null order by user_id limit $3::int4
   ) u
   order by u.user_id`,
);
/** $1 user. As they are once they are locked; mark is that of VERSIONS_AFTER. */
export const LOCK_USER_BODIES = statement(
  'lock_user_bodies',
  `select adapter_name, version, xmin::text from lora_adapters
   where user_id = $1 order by adapter_name, version for update`,
);
/** $1 user, $2 names, $3 versions. A row for each that was deleted. */
export const DELETE_USER_VERSIONS = statement(
  'delete_user_versions',
  `delete from lora_adapters a using unnest($2::varchar[], $3::int4[]) k(adapter_name, version)
   where a.user_id = $1 and a.adapter_name = k.adapter_name and a.version = k.version returning a.version`,
);

// ── one user's adapters ──

/** $1 user, $2 how many. Newest first, each with whether it is the latest of its adapter and has a checksum. */
export const USER_VERSIONS = statement(
  'user_versions',
  `select a.adapter_name, a.version, h.latest_version is not distinct from a.version, a.size_bytes,
     a.training_iterations, a.checksum is not null, a.created_at, a.updated_at
   from lora_adapters a
   left join lora_adapter_heads h on h.user_id = a.user_id and h.adapter_name = a.adapter_name
   where a.user_id = $1 order by a.updated_at desc, a.version desc, a.adapter_name limit $2`,
);

/** $1 user, $2 name, $3 version, or null: the latest. One row, with nulls for what is not there. */
export const STORED_VERSION = statement(
  'stored_version',
  `select h.latest_version, h.revision, a.version, a.weights, a.checksum, a.created_at, a.updated_at
   from (select $1::uuid as user_id, $2::varchar as adapter_name) k
   left join lora_adapter_heads h on h.user_id = k.user_id and h.adapter_name = k.adapter_name
   left join lora_adapters a on a.user_id = k.user_id and a.adapter_name = k.adapter_name
     and a.version = coalesce($3::int4, h.latest_version)`,
);

// ── what a prune would delete ──

/** $1 users, $2 names, $3 versions to keep. Rows and bytes. */
export const BEYOND_NEWEST = statement(
  'beyond_newest',
  `select count(*), coalesce(sum(b.size_bytes), 0)::int8 from ${ADAPTERS} ${beyondNewest('size_bytes', 'all')}`,
);

/** $1 users, $2 names, $3 days, $4 whether an adapter's latest version counts too. Rows and bytes. */
export const OLDER_THAN = statement(
  'older_than',
  `select count(*), coalesce(sum(b.size_bytes), 0)::int8 from ${ADAPTERS} ${olderThan('size_bytes', 'all')}`,
);

/** As the last ANALYZE saw it; 0 where there was none. */
export const ADAPTERS_ABOUT = statement(
  'adapters_about',
  `select greatest(reltuples, 0)::int8 from pg_class where oid = to_regclass('lora_adapter_heads')`,
);

// ── verify ──

// Pages go on behind a key, along an index. Their limit is a literal: of a parameter the planner expects a tenth of the
// table, and would rather sort all of it; and an EXISTS it would hash, all heads anew for each page.

/** $1 user, $2 name, $3 version: what comes after that row, of whichever user. Without the bodies, only how long each is. */
export const NEXT_ROWS = statement(
  'next_rows',
  `select b.user_id, b.adapter_name, b.version, octet_length(b.weights), b.size_bytes,
     coalesce((select true from lora_adapter_heads h where h.user_id = b.user_id and h.adapter_name = b.adapter_name), false)
   from lora_adapters b
   where (b.user_id, b.adapter_name, b.version) > ($1::uuid, $2::varchar, $3::int4)
   order by b.user_id, b.adapter_name, b.version limit 1000`,
);

/** Arrays: $1 users, $2 names, $3 versions. Those that are there still, in any order. */
export const BODIES = statement(
  'bodies',
  `select b.user_id, b.adapter_name, b.version, b.weights, b.checksum
   from unnest($1::uuid[], $2::varchar[], $3::int4[]) k(user_id, adapter_name, version)
   join lora_adapters b using (user_id, adapter_name, version)`,
  RECORDS,
);

/** $1 user, $2 name: what comes after that head; $3 the last user. The newest version is of the same snapshot. */
export const NEXT_HEADS = statement(
  'next_heads',
  `select h.user_id, h.adapter_name, h.last_version, h.latest_version,
     (select max(b.version) from lora_adapters b where b.user_id = h.user_id and b.adapter_name = h.adapter_name)
   from lora_adapter_heads h
   where (h.user_id, h.adapter_name) > ($1::uuid, $2::varchar) and h.user_id <= $3::uuid
   order by h.user_id, h.adapter_name limit 1000`,
);

/** lora_adapters, or its partitions: the tables in which rows are. */
const LEAVES = `(
  select coalesce(i.inhrelid, p.oid) from pg_catalog.pg_class p left join pg_catalog.pg_inherits i on i.inhparent = p.oid
  where p.oid = 'lora_adapters'::regclass)`;

/** As the planner believes; -1 before anybody counted. */
export const ESTIMATED_ROWS = statement(
  'estimated_rows',
  `select (case when max(reltuples) < 0 then -1 else sum(greatest(reltuples, 0)) end)::int8
   from pg_catalog.pg_class where oid in ${LEAVES}`,
);

/** Arrays: $1 users, $2 names. One row each, in order: head and latest body of one snapshot, and the clock that revisions come from. */
export const LATEST = statement(
  'latest',
  `select h.revision, h.latest_version, b.weights, b.checksum, (extract(epoch from clock_timestamp()) * 1000000)::int8
   from unnest($1::uuid[], $2::varchar[]) with ordinality as k(user_id, adapter_name, position)
   left join lora_adapter_heads h on h.user_id = k.user_id and h.adapter_name = k.adapter_name
   left join lora_adapters b on b.user_id = h.user_id and b.adapter_name = h.adapter_name and b.version = h.latest_version
   order by k.position`,
  RECORDS,
);

// ── warm ──

/** $1, $2: when and id of the row before (null, null: none). Newest first, along the index; a time as text loses no digit of it. */
export const NEXT_SAVED = statement(
  'next_saved',
  `select b.user_id, b.adapter_name, b.created_at::text, b.id from lora_adapters b
   where (b.created_at, b.id) < (coalesce($1::timestamptz, 'infinity'), coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
   order by b.created_at desc, b.id desc limit 1000`,
);

// ── doctor ──

export const SETTINGS = statement(
  'settings',
  `select name, setting, source from pg_catalog.pg_settings
   where name in ('server_version_num', 'server_version', 'fsync', 'full_page_writes', 'synchronous_commit', 'max_connections',
     'superuser_reserved_connections', 'enable_indexscan', 'enable_bitmapscan')`,
);

/** Who we are: database, role, whether over the network, and in which TLS, if in one. */
export const SESSION = statement(
  'session',
  `select current_database()::text, current_user::text,
     coalesce(not (host(inet_client_addr())::inet <<= '127.0.0.0/8' or host(inet_client_addr())::inet = '::1'), false),
     (select version from pg_catalog.pg_stat_ssl where pid = pg_backend_pid())`,
);

/** Connections of all clients, and nodes, of which each has an ear. */
export const CONNECTIONS = statement(
  'connections',
  `select count(*), count(*) filter (where application_name = 'lora-store change feed')
   from pg_catalog.pg_stat_activity where backend_type = 'client backend'`,
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
