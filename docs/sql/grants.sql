-- What the roles of roles.sql may do to the tables: to be run after `lora-store migrate up`, by lora_owner, or by a
-- superuser where `users` belongs to somebody else. It may be run again, and then takes away what was granted by hand.

revoke all on users, lora_adapters, lora_adapter_heads, lora_store_primary, lora_store_reigns from lora_app, lora_trainer, lora_reader, lora_backup;

-- The right to update a column is also the right to lock rows, which saves and deletions do. It is given for the columns
-- that do least harm: the id of a user who has adapters cannot change, and updated_at is a date. Weights cannot be
-- rewritten, only added.
grant select (id), update (id) on users to lora_app;
-- For createMissingUsers alone: leave it out where that is off.
grant insert (id) on users to lora_app;
grant select, insert, delete, update (updated_at) on lora_adapters to lora_app;
grant select, insert, update, delete on lora_adapter_heads to lora_app;
-- For postgres.replicas: a node that reads from standbys leaves a mark on the primary, and looks for it there.
revoke all on function lora_store_mark() from public;
grant execute on function lora_store_mark() to lora_app, lora_reader;
grant select on lora_store_primary, lora_store_reigns to lora_app, lora_reader;

-- Enough for `max(version) + 1` and for RETURNING id. The heads follow by triggers, which run as their owner.
grant insert, select (id, user_id, adapter_name, version) on lora_adapters to lora_trainer;

grant select on lora_adapters, lora_adapter_heads to lora_reader;

grant select on users, lora_adapters, lora_adapter_heads, lora_store_primary, lora_store_reigns, lora_store_reigns_id_seq
  to lora_backup;

-- Made by `lora-store migrate`; where psql applied the files there is none.
do $grants$
begin
  if to_regclass('lora_store_migrations') is not null then
    grant select on lora_store_migrations, lora_store_migrations_id_seq to lora_backup;
    -- For `lora-store migrate status` and `lora-store doctor`.
    grant select on lora_store_migrations to lora_app, lora_reader;
  end if;
end
$grants$;
