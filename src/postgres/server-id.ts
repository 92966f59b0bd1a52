/**
 * SQL for the number of the server and database that answer. Transaction ids count per server and NOTIFY is delivered per
 * database, so a stamp or a horizon says nothing about another of either: production and staging on one server may share
 * a Redis. The postmaster's start in µs, moved by a hash of database and schema; both fit 2^53, and so does their sum.
 */
const PLACE = `(hashtext(current_database() || '.' || current_schema())::int8 + 2147483648) * 1000003`;

export const SERVER_ID = `((extract(epoch from pg_postmaster_start_time()) * 1000000)::int8
  + ${PLACE})`;

/**
 * What a standby shows (migration 005), as two columns: SERVER_ID of its primary, and the latest mark. Null: it is no standby, shows
 * none, or a write of another primary than the one that left it.
 */
export const SHOWN_BY_STANDBY = `
  (select reign + ${PLACE} from lora_store_primary
   where pg_is_in_recovery() and system = (select system_identifier from pg_control_system())
     and reign = (select reign from lora_store_reigns order by id desc limit 1)),
  (select mark from lora_store_primary)`;

/**
 * A mark on the primary: who shows it shows everything that was committed before. Not waited for until other servers have
 * it: what they have matters when they are read. One string of several statements, for a connection that sends those.
 */
export const leaveMark = (lockTimeoutMs: number) =>
  `begin isolation level read committed; set local synchronous_commit = local; set local lock_timeout = ${lockTimeoutMs};
   select lora_store_mark()::text as mark; commit`;
/** The same as one statement. */
export const MARK = `select lora_store_mark()`;
