-- A checksum beside each body, so that bytes which changed on a disk or on the way are told from an adapter: CRC-32C of
-- lora_adapters.weights, 0 to 2^32 - 1. This package's saves fill it and its loads verify it. Null: whoever wrote the row
-- computed none, and it loads as before.

do $migration$
declare
  mark constant text := 'lora-store: added by migration 004';
  adapters regclass := to_regclass(format('%I.lora_adapters', current_schema()));
  place smallint;
begin
  if adapters is null then
    raise exception 'lora-store: schema % has no table lora_adapters: apply migration 002 first', current_schema();
  end if;
  select attnum into place from pg_attribute where attrelid = adapters and attname = 'checksum' and not attisdropped;
  if place is null then
    alter table lora_adapters add column checksum bigint;
    execute format('comment on column lora_adapters.checksum is %L', mark);
  elsif col_description(adapters, place) is distinct from mark then
    raise exception 'lora-store: table % has a column checksum that is not ours', adapters
      using hint = 'The table is untouched. Rename that column, then migrate again.';
  end if;
end
$migration$;

-- Weights that are rewritten by somebody who knows no checksum leave none behind. Who writes both is taken at his word.
create or replace function lora_adapters_clear_checksum() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
begin
  new.checksum := null;
  return new;
end
$body$;

do $migration$
begin
  if not exists (
    select from pg_trigger where tgrelid = to_regclass('lora_adapters') and tgname = 'lora_adapters_clear_checksum'
  ) then
    create trigger lora_adapters_clear_checksum before update of weights on lora_adapters for each row
      when (new.weights is distinct from old.weights and new.checksum is not distinct from old.checksum)
      execute function lora_adapters_clear_checksum();
  end if;
end
$migration$;
