-- Whose picture a standby shows, and how recent it is, in a row that it replays like any other. It cannot be read off the
-- standby: two primaries of one origin share their system identifier and may share their timeline, and transaction ids count
-- on in both.
--
--   system  the system identifier of the server that wrote the row: not that of a server into which it was only restored
--   reign   when that primary was started, in microseconds: signed by the first write of an adapter after a promotion, so
--           that whoever shows such a write shows it as well
--   mark    grows with every call of lora_store_mark(): who shows a mark shows everything that was committed before it
--
-- Nodes that read from standbys leave a mark once they listen. A role needs no right on the table, only that to call.

do $migration$
declare
  known regclass := to_regclass(format('%I.lora_store_primary', current_schema()));
  note constant text := 'lora-store: added by migration 005';
begin
  if to_regclass(format('%I.lora_adapter_heads', current_schema())) is null then
    raise exception 'lora-store: schema % has no table lora_adapter_heads: apply migration 003 first', current_schema();
  end if;
  if known is null then
    create table lora_store_primary (
      only_row boolean primary key default true check (only_row),
      system bigint not null,
      reign bigint not null,
      mark bigint not null
    );
    execute format('comment on table lora_store_primary is %L', note);
  elsif obj_description(known) is distinct from note then
    raise exception 'lora-store: there is a table % that is not ours', known
      using hint = 'It is untouched. Rename it, then migrate again.';
  end if;

  execute format($create$
    create or replace function %1$I.lora_store_mark() returns bigint
    language sql volatile security definer
    set search_path = pg_catalog, pg_temp
    as $body$
      insert into %1$I.lora_store_primary as known (system, reign, mark)
      select system_identifier, (extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint,
             (extract(epoch from clock_timestamp()) * 1000000)::bigint
      from pg_control_system()
      on conflict (only_row) do update
      set system = excluded.system, reign = excluded.reign, mark = greatest(known.mark + 1, excluded.mark)
      returning mark
    $body$
  $create$, current_schema());

  -- After a statement that changed heads. Where nobody reads from standbys there is no row, and nothing to sign. By its key: the
  -- triggers that change heads forbid to scan, and a scan that is made all the same counts as so dear that it is compiled, each time.
  execute format($create$
    create or replace function %1$I.lora_store_sign() returns trigger
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    as $body$
    begin
      if exists (
        select from %1$I.lora_store_primary
        where only_row and reign <> (extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint
      ) then
        perform %1$I.lora_store_mark();
      end if;
      return null;
    end
    $body$
  $create$, current_schema());

  execute format('revoke all on function %1$I.lora_store_sign() from public', current_schema());

  if not exists (
    select from pg_trigger where tgrelid = to_regclass('lora_adapter_heads') and tgname = 'lora_adapter_heads_sign'
  ) then
    -- Not after an insert alone: a bulk load makes its heads one by one, without a version, and sets them in one update.
    create trigger lora_adapter_heads_sign after update or delete on lora_adapter_heads
      for each statement execute function lora_store_sign();
  end if;
end
$migration$;
