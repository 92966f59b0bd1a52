/** The SQL of what is shown and counted: who has most, what one user has, what a prune would delete. */
import { statement } from '../../postgres/database.js';
import { ADAPTERS, beyondNewest, olderThan } from '../../tiers/statements.js';

const topUsers = (column: number) =>
  `select user_id, count(*), count(distinct adapter_name), sum(size_bytes)::int8, max(updated_at)
   from lora_adapters group by user_id order by ${column} desc, user_id limit $1`;

/** $1 how many. The users with most versions first. */
export const TOP_USERS_BY_VERSIONS = statement('top_users_by_versions', topUsers(2));
/** $1 how many. The users with most bytes first. */
export const TOP_USERS_BY_BYTES = statement('top_users_by_bytes', topUsers(4));

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
