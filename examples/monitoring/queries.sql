-- What to ask Postgres about adapters, with psql or from a dashboard. Each statement only reads.

-- storage-use: rows, users, bytes of all versions, and what the tables take on disk with indexes.
-- It reads a column of every row, and no weights.
select count(*)                              as total_adapters,
       count(distinct user_id)               as unique_users,
       coalesce(sum(size_bytes), 0)::bigint  as total_bytes,
       coalesce(avg(size_bytes), 0)::bigint  as avg_bytes,
       pg_size_pretty(coalesce(sum(size_bytes), 0)) as total_size,
       pg_size_pretty((select sum(pg_total_relation_size(oid)) from pg_class -- with partitions, where there are some
                       where oid in ('lora_adapters'::regclass, 'lora_adapter_heads'::regclass)
                          or oid in (select inhrelid from pg_inherits where inhparent = 'lora_adapters'::regclass))) as size_on_disk
from lora_adapters;

-- most-versions: the ten users with most versions, and the name of theirs that has most. storage.pruneVersions() deletes old ones.
select user_id,
       sum(versions)::bigint                                   as version_count,
       sum(bytes)::bigint                                      as total_bytes,
       (array_agg(adapter_name order by versions desc, adapter_name))[1] as largest_name,
       max(last_updated)                                       as last_updated
from (select user_id, adapter_name, count(*) as versions, sum(size_bytes) as bytes, max(updated_at) as last_updated
      from lora_adapters
      group by user_id, adapter_name) as by_name
group by user_id
order by version_count desc, user_id
limit 10;

-- most-bytes: the ten users who take most room. size_bytes is of the weights: rows and indexes come on top.
select user_id,
       sum(size_bytes)::bigint                as total_bytes,
       count(*)                               as version_count,
       count(distinct adapter_name)           as adapter_count,
       max(updated_at)                        as last_updated
from lora_adapters
group by user_id
order by total_bytes desc, user_id
limit 10;

-- statement-latency: milliseconds in Postgres by statement, slowest on average first. It takes shared_preload_libraries =
-- 'pg_stat_statements' and, in this database, create extension pg_stat_statements.
select calls,
       mean_exec_time,
       max_exec_time,
       total_exec_time,
       rows,
       shared_blks_read,
       query
from pg_stat_statements
where dbid = (select oid from pg_database where datname = current_database())
  and query ~ '\mlora_adapter(s|_heads)\M'
  and query !~ 'pg_stat_statements'
order by mean_exec_time desc;
