-- The owners of adapters. A service that has users already keeps its own table: all that is asked of it is a column
-- `id uuid` with a primary key or unique constraint for lora_adapters to refer to. Only where the search path finds no
-- `users` is a minimal one made, and marked, so that the down knows which tables are its own to drop.
--
-- Each migration runs through `lora-store migrate` (one transaction) and through `psql -v ON_ERROR_STOP=1 -f` (one
-- transaction a statement), on PostgreSQL 13 and later, and may be run again: what is there is left alone. What must
-- not be seen half done is therefore one statement, a DO block.

do $migration$
declare
  existing constant regclass := to_regclass('users');
  id_type text;
begin
  if current_schema() is null then
    raise exception 'lora-store: no schema of the search_path (%) exists', current_setting('search_path');
  end if;
  if existing is null then
    create table users (id uuid primary key);
    comment on table users is 'lora-store: created by migration 001';
    return;
  end if;
  select format_type(atttypid, atttypmod) into id_type
  from pg_attribute where attrelid = existing and attname = 'id' and attnum > 0 and not attisdropped;
  if id_type is distinct from 'uuid' then
    raise exception 'lora-store: table % needs a column id of type uuid to own adapters, and has %',
      existing, coalesce('one of type ' || id_type, 'none');
  end if;
end
$migration$;
