/** The SQL of operations over many rows, which no load or save waits for. */
import { statement } from '../postgres/database.js';

/** $1 how many. The users with most versions first. */
export const TOP_USERS = statement(
  'top_users',
  `select user_id, count(*), count(distinct adapter_name), sum(size_bytes)::int8, max(updated_at)
   from lora_adapters group by user_id order by 2 desc, user_id limit $1`,
);
