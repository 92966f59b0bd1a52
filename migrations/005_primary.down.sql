drop trigger if exists lora_adapter_heads_sign on lora_adapter_heads;
drop function if exists lora_store_sign();
drop function if exists lora_store_mark();

-- A table of one of these names that was there before is not ours to drop.
do $migration$
begin
  if obj_description(to_regclass(format('%I.lora_store_primary', current_schema())))
     = 'lora-store: added by migration 005' then
    drop table lora_store_primary, lora_store_reigns;
  end if;
end
$migration$;
