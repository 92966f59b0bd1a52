-- Drops `users` only where 001 made it (its mark is the table's comment), never one that was found. Without CASCADE:
-- a table that refers to it stops the down.

do $migration$
begin
  if obj_description(to_regclass(format('%I.users', current_schema())), 'pg_class')
    = 'lora-store: created by migration 001'
  then
    drop table users;
  end if;
end
$migration$;
