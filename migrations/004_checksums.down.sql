drop trigger if exists lora_adapters_clear_checksum on lora_adapters;
drop function if exists lora_adapters_clear_checksum();

-- A column of that name that was there before is not ours to drop.
do $migration$
begin
  if exists (
    select from pg_attribute
    where attrelid = to_regclass('lora_adapters') and attname = 'checksum' and not attisdropped
      and col_description(attrelid, attnum) = 'lora-store: added by migration 004'
  ) then
    alter table lora_adapters drop column checksum;
  end if;
end
$migration$;
