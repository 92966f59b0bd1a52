-- Whose picture a standby shows, and how recent it is, in rows that it replays like any other. It cannot be read off the
-- standby: two primaries of one origin share their system identifier and may share their timeline, and transaction ids count
-- on in both.
--
--   lora_store_primary  one row, written by lora_store_mark()
--     system  the system identifier of the server that wrote it: not that of a server into which it was only restored
--     reign   when that primary was started, in microseconds
--     mark    grows with every call: who shows a mark shows everything that was committed before it. A position in the log,
--             which goes on however clocks are set and whatever becomes of the row
--   lora_store_reigns   the last row is the reign in which an adapter was written last: the first write of another one adds it,
--     so that whoever shows such a write shows that it is another's. A row of its own each time: nobody waits for it.
--
-- Nodes that read from standbys leave a mark once they listen. A role needs no right to write, only that to call.

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
    create table lora_store_reigns (id bigint generated always as identity primary key, reign bigint not null);
    execute format('comment on table lora_store_primary is %L', note);
    execute format('comment on table lora_store_reigns is %L', note);
  elsif obj_description(known) is distinct from note then
    raise exception 'lora-store: there is a table % that is not ours', known
      using hint = 'It is untouched. Rename it, then migrate again.';
  end if;

  execute format($create$
    create or replace function %1$I.lora_store_mark() returns bigint
    language sql volatile security definer
    set search_path = pg_catalog, pg_temp
    as $body$
      insert into %1$I.lora_store_reigns (reign)
      select this.reign
      from (select (extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint) as this (reign)
      where this.reign is distinct from (select reign from %1$I.lora_store_reigns order by id desc limit 1);

      insert into %1$I.lora_store_primary as known (system, reign, mark)
      select system_identifier, (extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint,
             pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint
      from pg_control_system()
      on conflict (only_row) do update
      set system = excluded.system, reign = excluded.reign,
          mark = case when (known.system, known.reign) = (excluded.system, excluded.reign)
                      then greatest(known.mark + 1, excluded.mark) else excluded.mark end
      returning mark
    $body$
  $create$, current_schema());

  -- After a statement that changed heads. Where nobody reads from standbys there is no row, and nothing to add. By the key: the
  -- triggers that change heads forbid to scan, and a scan that is made all the same counts as so dear that it is compiled, each time.
  execute format($create$
    create or replace function %1$I.lora_store_sign() returns trigger
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    as $body$
    declare
      this constant bigint := (extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint;
    begin
      if (select reign from %1$I.lora_store_reigns order by id desc limit 1) <> this then
        insert into %1$I.lora_store_reigns (reign) values (this);
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
