/**
 * The SQL of the Postgres tier. Every read returns its snapshot's xmin and the server's number: the stamp by which a
 * cached entry is later judged. Heads say which version is the latest; bodies never change.
 */

import { decodeRecord } from '../adapter/codec.js';
import type { AdapterRecord } from '../adapter/record.js';
import { AdapterCorruptError } from '../errors.js';
import { statement } from '../postgres/database.js';
import { SERVER_ID, SHOWN_BY_STANDBY } from '../postgres/server-id.js';
import { columnTypes } from '../postgres/wire.js';

/** A bytea read as an adapter while its bytes are still in the socket's buffer: one copy, into aligned memory. */
export const RECORDS = columnTypes((raw): AdapterRecord | AdapterCorruptError => {
  try {
    return decodeRecord(raw);
  } catch (error) {
    if (error instanceof AdapterCorruptError) return error;
    throw error;
  }
});

const SEEN = `pg_snapshot_xmin(pg_current_snapshot()), ${SERVER_ID}`;
const NEXT_REVISION = 'greatest(h.revision + 1, (extract(epoch from clock_timestamp()) * 1000000)::int8)';

/** Null where there is no row, or the caller holds it already. */
export type BodyColumn = AdapterRecord | AdapterCorruptError | null;

export type StampColumns = [xid: number, server: number];

/** revision and version are null where no head exists; the body is null where the revision is the one already known. */
type HeadAndBody = [
  revision: number | null,
  version: number | null,
  updatedAt: number | null,
  body: BodyColumn,
  /** CRC-32C of the body; null where its writer computed none. */
  checksum: number | null,
];
export type LoadRow = [...HeadAndBody, ...StampColumns];

/** seen: what says whose picture this is, as two columns. */
const load = (seen: string) => `
  select h.revision, h.latest_version, b.updated_at, b.weights, b.checksum, ${seen}
   from (select $1::uuid as user_id, $2::varchar as adapter_name) k
   left join lora_adapter_heads h on h.user_id = k.user_id and h.adapter_name = k.adapter_name
   left join lora_adapters b on b.user_id = h.user_id and b.adapter_name = h.adapter_name
     and b.version = h.latest_version and h.revision <> $3::int8`;

const loadMany = (seen: string) => `
  select h.revision, h.latest_version, b.updated_at, b.weights, b.checksum, ${seen}
   from unnest($1::uuid[], $2::varchar[], $3::int8[]) with ordinality as k(user_id, adapter_name, known, position)
   left join lora_adapter_heads h on h.user_id = k.user_id and h.adapter_name = k.adapter_name
   left join lora_adapters b on b.user_id = h.user_id and b.adapter_name = h.adapter_name
     and b.version = h.latest_version and h.revision <> k.known
   order by k.position`;

/** $1 user, $2 name, $3 revision whose body the caller holds (-1: none). Always one row. */
export const LOAD = statement('load', load(SEEN), RECORDS);
/** LOAD for many: arrays of the same three. One row each, in order, all of one snapshot. */
export const LOAD_MANY = statement('load_many', loadMany(SEEN), RECORDS);

/** Of a standby: its primary, and the latest mark that it shows. */
export type ReplicaRow = [...HeadAndBody, server: number | null, mark: number | null];

/** The same two of a standby. */
export const REPLICA_LOAD = statement('replica_load', load(SHOWN_BY_STANDBY), RECORDS);
export const REPLICA_LOAD_MANY = statement('replica_load_many', loadMany(SHOWN_BY_STANDBY), RECORDS);

/** $1 user, $2 name, $3 version. */
export const LOAD_VERSION = statement(
  'load_version',
  'select weights, checksum, updated_at from lora_adapters where user_id = $1 and adapter_name = $2 and version = $3',
  RECORDS,
);

/** owner is false where the user has no row; revision and version are null where nothing was saved. */
export type SaveRow = [
  owner: boolean,
  version: number | null,
  revision: number | null,
  updatedAt: number | null,
  ...StampColumns,
];

const BODY_AND_ANSWER = `
  body as (
    insert into lora_adapters (user_id, adapter_name, version, weights, checksum, size_bytes, training_iterations)
    select $1, $2, last_version, $3::bytea, $6::int8, octet_length($3::bytea), $4::int4 from head
    returning updated_at
  )
  select exists (select from owner), head.last_version, head.revision, body.updated_at,
    case when head.revision is not null then pg_current_xact_id() end, ${SERVER_ID}
  from (select) one left join head on true left join body on true`;

const OWNER = 'owner as (select id from users where id = $1 for key share)';

/**
 * $1 user, $2 name, $3 record, $4 training iterations, $5 true: only if no version exists, $6 checksum of $3. The head is taken first and
 * bumped here, so that the revision returned is the one that stays; the triggers find nothing left to do.
 */
export const SAVE = statement(
  'save',
  `with ${OWNER}, head as (
    insert into lora_adapter_heads as h (user_id, adapter_name, last_version, latest_version, revision)
    select id, $2::varchar, 1, 1, (extract(epoch from clock_timestamp()) * 1000000)::int8 from owner
    on conflict (user_id, adapter_name) do update
      set last_version = h.last_version + 1, latest_version = h.last_version + 1, revision = ${NEXT_REVISION}
      where not $5::bool or h.latest_version is null
    returning last_version, revision
  ), ${BODY_AND_ANSWER}`,
);

/**
 * The same, $5 being the version that must be the latest. An UPDATE alone: it looks at the head again after waiting for
 * it, and where the head is gone it cannot begin a new one.
 */
export const SAVE_OVER = statement(
  'save_over',
  `with ${OWNER}, head as (
    update lora_adapter_heads h
      set last_version = h.last_version + 1, latest_version = h.last_version + 1, revision = ${NEXT_REVISION}
      from owner where h.user_id = owner.id and h.adapter_name = $2::varchar and h.latest_version = $5::int4
    returning h.last_version, h.revision
  ), ${BODY_AND_ANSWER}`,
);

export const LATEST_VERSION = statement(
  'latest_version',
  'select latest_version from lora_adapter_heads where user_id = $1 and adapter_name = $2',
);

export const CREATE_USER = statement('create_user', 'insert into users (id) values ($1) on conflict (id) do nothing');

// Every write below takes its locks in this order: the user's row, the bodies by version, the head. A delete cannot do
// otherwise, since its rows are locked before any trigger of theirs sees them; whoever took the head first met it there.
export const LOCK_OWNER = statement('lock_owner', 'select from users where id = $1 for key share');
export const LOCK_OWNER_ALONE = statement('lock_owner_alone', 'select from users where id = $1 for update');
/** $3 null: all of them. */
export const LOCK_BODIES = statement(
  'lock_bodies',
  `select version from lora_adapters
   where user_id = $1 and adapter_name = $2 and ($3::int4 is null or version = $3) order by version for update`,
);
/** The same without a lock: what there is now, waited for or not. */
export const SEE_BODIES = statement(
  'see_bodies',
  `select version from lora_adapters
   where user_id = $1 and adapter_name = $2 and ($3::int4 is null or version = $3)`,
);
/**
 * What an insert takes, for who takes the head in a statement before it: docs/sql/rebuild-heads.sql holds writers off the
 * table and then goes for heads.
 */
export const LOCK_TABLE = statement('lock_table', 'lock table lora_adapters in row exclusive mode');
/** A delete that is removing it is waited for; one that comes later waits for us. */
export const LOCK_SOURCE = statement(
  'lock_source',
  'select version from lora_adapters where user_id = $1 and adapter_name = $2 and version = $3 for share',
);
/** $1 users, $2 names. */
export const HEADS = statement(
  'heads',
  `select h.user_id, h.adapter_name, h.revision, h.latest_version
   from unnest($1::uuid[], $2::varchar[]) k(user_id, adapter_name) join lora_adapter_heads h using (user_id, adapter_name)`,
);

/** $3 versions whose rows are locked: any other would be locked here in no order. */
export const DELETE = statement(
  'delete',
  'delete from lora_adapters where user_id = $1 and adapter_name = $2 and version = any($3::int4[])',
);

export const NEXT_HEAD = statement(
  'next_head',
  `update lora_adapter_heads h
   set last_version = h.last_version + 1, latest_version = h.last_version + 1, revision = ${NEXT_REVISION}
   where user_id = $1 and adapter_name = $2 returning last_version, revision`,
);
/** $3 the version to bring back, $4 its new number. */
export const COPY_VERSION = statement(
  'copy_version',
  `insert into lora_adapters (user_id, adapter_name, version, weights, checksum, size_bytes, training_iterations)
   select user_id, adapter_name, $4, weights, checksum, size_bytes, training_iterations from lora_adapters
   where user_id = $1 and adapter_name = $2 and version = $3`,
);

// Rows are locked in the order of every other write before they are deleted: `in` alone deletes them in any order. They are
// named by their key: the ids of an adopted table may be those of another user's rows, too.

export const FORGET_BODIES = statement(
  'forget_bodies',
  `with doomed as (
     select adapter_name, version from lora_adapters where user_id = $1 order by adapter_name, version for update
   )
   delete from lora_adapters where user_id = $1 and (adapter_name, version) in (select * from doomed) returning version`,
);
/**
 * Not a head that has a body: where the user had no row to lock, or it was replaced, somebody may have saved since the bodies were
 * deleted. A body without its head would be one that no deletion finds again. In any order: no body is left, so nobody else takes
 * two of these heads at once.
 */
export const FORGET_HEADS = statement(
  'forget_heads',
  `with gone as (delete from lora_adapter_heads where user_id = $1 and latest_version is null)
   select user_id, adapter_name, revision, latest_version from lora_adapter_heads where user_id = $1`,
);

// A prune goes through the heads in the order of their key, a page of them at a time, and deletes from those. A batch thus
// costs its own rows: one that looked for them in the whole table took 500 ms of a table of 200,000 rows, each time.

/** $1 user and $2 name to begin with, $3 last user, $4 how many. */
export const ADAPTERS_FROM = statement(
  'adapters_from',
  `select user_id, adapter_name from lora_adapter_heads
   where (user_id, adapter_name) >= ($1::uuid, $2::varchar) and user_id <= $3::uuid
   order by user_id, adapter_name limit $4`,
);

/** Rows to prune of the adapters k, at most `rows` of each. $3 versions to keep. */
export const beyondNewest = (columns: string, rows: string) => `
  cross join lateral (
    select version from lora_adapters a where a.user_id = k.user_id and a.adapter_name = k.adapter_name
    order by version desc offset $3::int4 limit 1) newest
  cross join lateral (
    select ${columns} from lora_adapters a
    where a.user_id = k.user_id and a.adapter_name = k.adapter_name and a.version <= newest.version
    order by a.version limit ${rows}) b`;

/** The number of the newest row of adapter k, which a head does not know of that no trigger has told. */
const NEWEST = `(select max(version) from lora_adapters a where a.user_id = k.user_id and a.adapter_name = k.adapter_name)`;

/** The same. $3 days, $4 whether an adapter's latest version goes too. */
export const olderThan = (columns: string, rows: string) => `
  cross join lateral ${NEWEST} newest(version)
  cross join lateral (
    select ${columns} from lora_adapters a
    where a.user_id = k.user_id and a.adapter_name = k.adapter_name
      and a.created_at < now() - make_interval(secs => $3::float8 * 86400)
      and ($4::bool or a.version < newest.version)
    order by a.version limit ${rows}) b`;

/** Users and names of adapters, as a table. */
export const ADAPTERS = 'unnest($1::uuid[], $2::varchar[]) k(user_id, adapter_name)';

/**
 * `kept`: the version of k that is to outlive its rows, or null. It is locked with them, and they go only where it is there
 * still: one that was deleted since the rows were chosen has made one of them the latest. The next prune finds them again.
 * `is true` keeps that look-up a hash: as a join it was planned for one row, and took 0.1 s of a batch of 500, or 2 s.
 * Answers with every row it chose: one that somebody else deleted meanwhile is not `gone` by this, and no end of the work.
 */
const prune = (chosen: string, rows: string, kept: string) => `
  with chosen as materialized (
    select k.user_id, k.adapter_name, b.version, ${kept} as kept from ${ADAPTERS} ${chosen} limit ${rows}
  ), held as (
    select user_id, adapter_name, version from lora_adapters
    where (user_id, adapter_name, version) in (
      select user_id, adapter_name, version from chosen union select user_id, adapter_name, kept from chosen)
    order by user_id, adapter_name, version for update
  ), gone as (
    delete from lora_adapters where (user_id, adapter_name, version) in (
      select user_id, adapter_name, version from chosen
      where ((user_id, adapter_name, coalesce(kept, version)) in (select * from held)) is true)
    returning user_id, adapter_name, version
  )
  select user_id, adapter_name, (user_id, adapter_name, version) in (select * from gone) from chosen`;

export type PrunedRow = [userId: string, adapterName: string, gone: boolean];

/** $1 users, $2 names, $3 versions to keep of each adapter, $4 rows at most. */
export const PRUNE_VERSIONS = statement(
  'prune_versions',
  prune(beyondNewest('version', '$4::int4'), '$4::int4', NEWEST),
);
/** $1 users, $2 names, $3 days, $4 whether an adapter's latest version goes too, $5 rows at most. */
export const PRUNE_OLDER = statement(
  'prune_older',
  prune(olderThan('version', '$5::int4'), '$5::int4', 'case when not $4::bool then newest.version end'),
);

export const LIST = statement(
  'list',
  `select adapter_name, version, size_bytes, training_iterations, created_at, updated_at
   from lora_adapters where user_id = $1 order by updated_at desc, version desc, adapter_name`,
);
export const COUNT = statement('count', 'select count(*) from lora_adapters where user_id = $1');
export const STATS = statement(
  'stats',
  `select count(*), count(distinct user_id), coalesce(sum(size_bytes), 0)::int8, coalesce(avg(size_bytes), 0)::float8
   from lora_adapters`,
);
export const PING = statement('ping', 'select 1');

export const WHICH_SERVER = statement('which_server', `select ${SERVER_ID}`);
