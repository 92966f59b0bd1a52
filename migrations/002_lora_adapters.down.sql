-- Drops lora_adapters only where 002 made it (its mark is the table's comment). An adopted table keeps its rows and
-- everything its owner gave it; the defaults, indexes, constraint and storage that 002 added (its list is the comment
-- of lora_adapters_touch()) are taken away again.

do $migration$
declare
  adapters constant regclass := to_regclass(format('%I.lora_adapters', current_schema()));
  touch constant regprocedure := to_regprocedure(format('%I.lora_adapters_touch()', current_schema()));
  item record;
begin
  if obj_description(adapters, 'pg_class') = 'lora-store: created by migration 002' then
    execute format('drop table %s', adapters);
  elsif adapters is not null then
    for item in
      select split_part(entry, ':', 1) as kind, split_part(entry, ':', 2) as name
      from regexp_split_to_table(substring(obj_description(touch, 'pg_proc') from 'by migration 002: (.*)'), ' ') as entry
    loop
      case item.kind
        when 'default' then execute format('alter table %s alter column %I drop default', adapters, item.name);
        when 'index' then execute format('drop index if exists %I.%I', current_schema(), item.name);
        when 'constraint' then execute format('alter table %s drop constraint if exists %I', adapters, item.name);
        when 'storage' then
          execute format('alter table %s alter column weights set storage %s', adapters,
            case item.name when 'p' then 'plain' when 'm' then 'main' else 'extended' end);
      end case;
    end loop;
    execute format('drop trigger if exists lora_adapters_touch on %s', adapters);
  end if;
  if touch is not null then
    execute format('drop function %s', touch);
  end if;
end
$migration$;
