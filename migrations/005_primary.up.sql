-- Who the primary is, in a row that its standbys show: the number of the server and database which wrote it last. A
-- standby can say who it is itself, and of its primary neither name nor age; two primaries of one origin differ in neither
-- system identifier nor, when each was promoted, timeline. What a standby shows is of the primary whose number it shows.
--
-- Written by nodes that read from replicas, when they connect to the primary, and only where it says another.

do $migration$
declare
  known regclass := to_regclass(format('%I.lora_store_primary', current_schema()));
  mark constant text := 'lora-store: added by migration 005';
begin
  if known is null then
    create table lora_store_primary (
      only_row boolean primary key default true check (only_row),
      server_id bigint not null
    );
    execute format('comment on table lora_store_primary is %L', mark);
  elsif obj_description(known) is distinct from mark then
    raise exception 'lora-store: there is a table % that is not ours', known
      using hint = 'It is untouched. Rename it, then migrate again.';
  end if;
end
$migration$;
