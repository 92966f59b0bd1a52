/** The SQL of operations over many rows, which no load or save waits for. */
import { statement } from '../postgres/database.js';
import { RECORDS } from '../tiers/statements.js';

/** $1 how many. The users with most versions first. */
export const TOP_USERS = statement(
  'top_users',
  `select user_id, count(*), count(distinct adapter_name), sum(size_bytes)::int8, max(updated_at)
   from lora_adapters group by user_id order by 2 desc, user_id limit $1`,
);

// ── verify ──

// Pages go on behind a key, along an index. Their limit is a literal: of a parameter the planner expects a tenth of the
// table, and would rather sort all of it.

/** $1 user, $2 name, $3 version: what comes after that row; $4 the last user. Without the bodies, only how long each is. */
export const NEXT_ROWS = statement(
  'next_rows',
  `select b.user_id, b.adapter_name, b.version, octet_length(b.weights), b.size_bytes,
     exists (select from lora_adapter_heads h where h.user_id = b.user_id and h.adapter_name = b.adapter_name)
   from lora_adapters b
   where (b.user_id, b.adapter_name, b.version) > ($1::uuid, $2::varchar, $3::int4) and b.user_id <= $4::uuid
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

/** As the planner believes; -1 before anybody counted. */
export const ESTIMATED_ROWS = statement(
  'estimated_rows',
  `select reltuples::int8 from pg_catalog.pg_class where oid = 'lora_adapters'::regclass`,
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
  `select user_id, adapter_name, created_at::text, id from lora_adapters
   where (created_at, id) < (coalesce($1::timestamptz, 'infinity'), coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
   order by created_at desc, id desc limit 1000`,
);
