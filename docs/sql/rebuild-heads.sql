-- Makes the heads say again what the bodies say, after writes that no trigger saw: with triggers disabled, by
-- session_replication_role, or applied by logical replication. May be run at any time, by the owner of the tables. Loads go
-- on, writers wait, and every node hears of it, and takes nothing that it holds for the latest before it has asked again: also
-- what was told by no trigger of the heads (one that was off meanwhile) is found. Weights that were rewritten under the same number leave no trace here:
-- after those run after-restore.sql, which gives every adapter a new revision.

do $rebuild$
declare
  now constant bigint := extract(epoch from clock_timestamp()) * 1000000;
begin
  lock table lora_adapters in share row exclusive mode;

  -- Every head that there should be, with a new revision where it was wrong. last_version never goes down.
  insert into lora_adapter_heads as h (user_id, adapter_name, last_version, latest_version, revision)
  select user_id, adapter_name, max(version), max(version), now from lora_adapters group by user_id, adapter_name
  on conflict (user_id, adapter_name) do update
  set last_version = greatest(h.last_version, excluded.last_version),
      latest_version = excluded.latest_version,
      revision = greatest(h.revision + 1, excluded.revision)
  where h.latest_version is distinct from excluded.latest_version or h.last_version < excluded.last_version;

  update lora_adapter_heads as h
  set latest_version = null, revision = greatest(revision + 1, now)
  where latest_version is not null and not exists (
    select from lora_adapters as b where b.user_id = h.user_id and b.adapter_name = h.adapter_name);
end
$rebuild$;

notify lora_store_heads, '*';
