-- Takes the heads away with everything that kept them; lora_adapters and its rows stay. Version numbers start again
-- from the highest that is left when 003 is applied anew; revisions do not, being taken from the clock.
--
-- One statement: between the drop of a trigger and the drop of its function a writer would fail.

do $migration$
declare
  item record;
begin
  for item in
    select tgname, tgrelid::regclass as relation
    from pg_trigger
    where not tgisinternal
      and tgrelid = to_regclass(format('%I.lora_adapters', current_schema()))
      and tgname in ('lora_adapters_lock_head', 'lora_adapters_settle_insert', 'lora_adapters_settle_update',
                     'lora_adapters_settle_delete', 'lora_adapters_settle_truncate')
  loop
    execute format('drop trigger %I on %s', item.tgname, item.relation);
  end loop;
  execute format('drop table if exists %I.lora_adapter_heads', current_schema());
  execute format('drop function if exists %1$I.lora_adapters_lock_head(), %1$I.lora_adapters_settle_heads(), '
                 '%1$I.lora_adapter_heads_notify()', current_schema());
end
$migration$;
