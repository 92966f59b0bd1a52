-- Five roles, none of which can do more than its work: to be run once, before `lora-store migrate up`, by whoever may
-- create roles, and in the database and schema (the first of the search_path) that will hold the adapters. It may be run
-- again. None has a password yet: `\password lora_app` in psql gives it one.
--
--   lora_owner    owns the tables: migrates, and nothing else
--   lora_app      opens a LoRAStorage that loads, saves, deletes and listens: the server
--   lora_trainer  adds versions by SQL: a service in another language
--   lora_reader   opens a LoRAStorage that only loads and lists: an offline job, a dashboard
--   lora_backup   reads everything, for pg_dump
--
-- What they may do to the tables is in grants.sql.

do $roles$
declare
  place constant text := quote_ident(current_schema());
  users constant regclass := to_regclass('users');
  name text;
begin
  foreach name in array array['lora_owner', 'lora_app', 'lora_trainer', 'lora_reader', 'lora_backup'] loop
    if not exists (select from pg_roles where rolname = name) then
      execute format('create role %I login', name);
    end if;
    execute format('grant usage on schema %s to %I', place, name);
  end loop;

  -- Everybody may create in the public schema of a database that began before PostgreSQL 15.
  execute format('revoke create on schema %s from public', place);
  execute format('grant create on schema %s to lora_owner', place);

  -- A service's own table of users stays its own. Adapters refer to it, and its rows are locked, never changed; a lock
  -- takes the right to update some column.
  if users is not null then
    execute format('grant select, references, update (id) on %s to lora_owner', users);
  end if;
end
$roles$;
