-- The bodies: one row a version, written once. Shared with the Rust service whose table this is: where that service
-- made it already, it is adopted, which means checked, completed and never rebuilt. What was added to an adopted table
-- is listed in the comment of lora_adapters_touch(), a function that is always ours, so that the down takes away that
-- and nothing else.

do $migration$
declare
  adapters regclass := to_regclass('lora_adapters');
  faults text;
begin
  if adapters is null then
    create table lora_adapters (
      id uuid primary key default gen_random_uuid(),
      user_id uuid not null references users (id) on delete cascade,
      adapter_name varchar(100) not null default 'default',
      version integer not null default 1,
      weights bytea not null,
      size_bytes bigint not null,
      training_iterations integer not null default 0,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      unique (user_id, adapter_name, version)
    );
    comment on table lora_adapters is 'lora-store: created by migration 002';
    return;
  end if;

  -- A second table in front of the one that is found would hide the owner's rows from whoever shares this search_path.
  if adapters is distinct from to_regclass(format('%I.lora_adapters', current_schema())) then
    raise exception 'lora-store: there is a lora_adapters in schema %, and this migration works in %',
      (select relnamespace::regnamespace from pg_class where oid = adapters), current_schema()
      using hint = 'Put the schema of lora_adapters first in the search_path, or take it out.';
  end if;
  -- Partitions are what `lora-store partition` makes of it.
  if (select relkind from pg_class where oid = adapters) not in ('r', 'p') then
    raise exception 'lora-store cannot adopt %: it is no ordinary table', adapters;
  end if;

  -- Every column we read and write has to be what we take it for. A column of the owner's own may stand beside them
  -- if an insert that does not know of it goes through.
  select string_agg(fault, '; ' order by fault) into faults
  from (
    select case
        when has.name is null then format('column %s is missing', need.name)
        when need.name is null then format('column %s is NOT NULL without a default', has.name)
        when has.type <> need.type then format('column %s is %s, not %s', need.name, has.type, need.type)
        when not has.not_null then format('column %s is not NOT NULL', need.name)
      end as fault
    from (values ('id', 'uuid'), ('user_id', 'uuid'), ('adapter_name', 'character varying(100)'),
                 ('version', 'integer'), ('weights', 'bytea'), ('size_bytes', 'bigint'),
                 ('training_iterations', 'integer'), ('created_at', 'timestamp with time zone'),
                 ('updated_at', 'timestamp with time zone')) as need (name, type)
    full join (select attname::text as name, format_type(atttypid, atttypmod) as type, attnotnull as not_null,
                      atthasdef or attidentity <> '' as filled
               from pg_attribute where attrelid = adapters and attnum > 0 and not attisdropped) as has
      on has.name = need.name
    where need.name is not null or (has.not_null and not has.filled)
  ) as checked;
  if faults is not null then
    raise exception 'lora-store cannot adopt table %: %', adapters, faults
      using hint = 'The table is untouched. Give it the columns of migrations/002_lora_adapters.up.sql first.';
  end if;
end
$migration$;

-- updated_at follows every update, unless the statement sets it itself (a restore, a copy between databases).
create or replace function lora_adapters_touch() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $body$
begin
  if new.updated_at is not distinct from old.updated_at then
    new.updated_at := now();
  end if;
  return new;
end
$body$;

do $migration$
declare
  adapters constant regclass := 'lora_adapters'::regclass;
  touch constant regprocedure := 'lora_adapters_touch()'::regprocedure;
  added text[] := '{}';
  item record;
begin
  -- Rust writers leave out id, created_at or updated_at at times.
  for item in
    select need.name, need.expression
    from (values ('id', 'gen_random_uuid()'), ('adapter_name', quote_literal('default')), ('version', '1'),
                 ('training_iterations', '0'), ('created_at', 'now()'), ('updated_at', 'now()')) as need (name, expression)
    join pg_attribute on attrelid = adapters and attname = need.name and not atthasdef and attidentity = ''
  loop
    execute format('alter table %s alter column %I set default %s', adapters, item.name, item.expression);
    added := added || ('default:' || item.name);
  end loop;

  -- Random floats do not compress; trying costs more than half of an insert.
  for item in
    select attstorage::text from pg_attribute where attrelid = adapters and attname = 'weights' and attstorage <> 'e'
  loop
    execute format('alter table %s alter column weights set storage external', adapters);
    added := added || ('storage:' || item.attstorage);
  end loop;

  -- Any unique index over these three columns will do, whatever its name and their order.
  if not exists (
    select from pg_index
    where indrelid = adapters and indisunique and indisvalid and indpred is null and indexprs is null and indnkeyatts = 3
      and (select array_agg(attname::text order by attname) from pg_attribute
           where attrelid = adapters and attnum = any (indkey[0:2])) = array['adapter_name', 'user_id', 'version']
  ) then
    execute format('alter table %s add constraint lora_adapters_user_id_adapter_name_version_key '
                   'unique (user_id, adapter_name, version)', adapters);
    added := added || 'constraint:lora_adapters_user_id_adapter_name_version_key'::text;
  end if;

  for item in
    select need.name, need.columns
    from (values ('idx_lora_adapters_user_name_version', 'user_id, adapter_name, version desc'),
                 ('idx_lora_adapters_user_updated', 'user_id, updated_at desc'),
                 ('idx_lora_adapters_created', 'created_at desc')) as need (name, columns)
    where to_regclass(format('%I.%I', current_schema(), need.name)) is null
  loop
    execute format('create index %I on %s (%s)', item.name, adapters, item.columns);
    added := added || ('index:' || item.name);
  end loop;

  -- `create or replace trigger` came with PostgreSQL 14; and a trigger that is left alone needs no lock.
  if not exists (select from pg_trigger where tgrelid = adapters and tgname = 'lora_adapters_touch') then
    create trigger lora_adapters_touch before update on lora_adapters
      for each row execute function lora_adapters_touch();
  end if;

  -- The foreign key of an adopted table stays as it was found. Without ON DELETE CASCADE its owner has decided that
  -- deleting a user who has adapters is an error, and it is not for a cache to turn that error into lost rows. Nothing
  -- here needs the cascade: forgetting a user deletes the adapters first, and the heads of 003 follow either way.

  -- A second run adds nothing, and must not forget what the first one added.
  if cardinality(added) > 0
    and obj_description(adapters, 'pg_class') is distinct from 'lora-store: created by migration 002'
  then
    execute format('comment on function %s is %L', touch,
      coalesce(obj_description(touch, 'pg_proc'), 'lora-store: added by migration 002:')
        || ' ' || array_to_string(added, ' '));
  end if;
end
$migration$;
