/** The SQL of export, import and archive: versions out of the tables, into them, and away. */
import { statement } from '../../postgres/database.js';

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
 * $1 the user to begin with, $2 a time, $3 users at most. Users with adapters, and whether none of them was saved since: each
 * is one look into the index, so that no page takes long, however few are inactive.
 */
export const USERS_SINCE = statement(
  'users_since',
  `select u.user_id, (
     select a.updated_at from lora_adapters a where a.user_id = u.user_id order by a.updated_at desc limit 1
   ) < $2::timestamptz
   from (
     select distinct user_id from lora_adapter_heads
     where user_id >= $1::uuid and latest_version is not null order by user_id limit $3::int4
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
