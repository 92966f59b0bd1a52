/**
 * The SQL that goes through all rows or heads, for verify and warm, page after page, and what is asked about those of a page.
 *
 * Pages go on behind a key, or with it, along an index. Their limit is a literal: of a parameter the planner expects a tenth of the table, and
 * would rather sort all of it; and an EXISTS it would hash, all heads anew for each page.
 */
import { statement } from '../../postgres/database.js';
import { RECORDS } from '../../tiers/statements.js';

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

/** The one behind them is where the next page begins. */
export const HEADS_A_PAGE = 1000;
/** $1 user, $2 name: that head and what comes after it; $3 the last user. The newest version is of the same snapshot. */
export const NEXT_HEADS = statement(
  'next_heads',
  `select h.user_id, h.adapter_name, h.last_version, h.latest_version,
     (select max(b.version) from lora_adapters b where b.user_id = h.user_id and b.adapter_name = h.adapter_name)
   from lora_adapter_heads h
   where (h.user_id, h.adapter_name) >= ($1::uuid, $2::varchar) and h.user_id <= $3::uuid
   order by h.user_id, h.adapter_name limit ${HEADS_A_PAGE + 1}`,
);

/** lora_adapters, or its partitions: the tables in which rows are. */
export const LEAVES = `(
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

/**
 * $1 when, $2 user, $3 name, $4 version: the row to go on after; 'infinity' and less than any key: from the beginning. Newest first
 * along the index of created_at, those of one instant by their key, which is unique in an adopted table too. A time as text loses
 * no digit of it.
 */
export const NEXT_SAVED = statement(
  'next_saved',
  `select b.user_id, b.adapter_name, b.version, b.created_at::text from lora_adapters b
   where b.created_at <= $1::timestamptz
     and (b.created_at < $1::timestamptz or (b.user_id, b.adapter_name, b.version) > ($2::uuid, $3::varchar, $4::int4))
   order by b.created_at desc, b.user_id, b.adapter_name, b.version limit 1000`,
);
