/**
 * SQL for the number of the server and database that answer. Transaction ids count per server and NOTIFY is delivered per
 * database, so a stamp or a horizon says nothing about another of either: production and staging on one server may share
 * a Redis. The postmaster's start in µs, moved by a hash of database and schema; both fit 2^53, and so does their sum.
 */
export const SERVER_ID = `((extract(epoch from pg_postmaster_start_time()) * 1000000)::int8
  + (hashtext(current_database() || '.' || current_schema())::int8 + 2147483648) * 1000003)`;
