/**
 * SQL for the number of the server and database that answer. Transaction ids count per server and NOTIFY is delivered per
 * database, so a stamp or a horizon says nothing about another of either: production and staging on one server may share
 * a Redis. The postmaster's start in µs, moved by a hash of database and schema; both fit 2^53, and so does their sum.
 */
export const SERVER_ID = `((extract(epoch from pg_postmaster_start_time()) * 1000000)::int8
  + (hashtext(current_database() || '.' || current_schema())::int8 + 2147483648) * 1000003)`;

/** What a standby shows of its primary: that one's number, as it stood when what is shown was written. Null: it is no standby. */
export const PRIMARY_ID = `case when pg_is_in_recovery() then (select server_id from lora_store_primary) end`;

/** What tells them, on the primary. Nothing is written where it stands there already. */
export const SIGN_PRIMARY = `insert into lora_store_primary as known (server_id) values (${SERVER_ID})
  on conflict (only_row) do update set server_id = excluded.server_id where known.server_id <> excluded.server_id`;
