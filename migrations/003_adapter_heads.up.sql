-- The heads: which version of an adapter is the latest, and the revision that fences every cached copy of it. One small
-- row an adapter, kept true by triggers whoever writes lora_adapters: this package, a Rust service, a cleanup in psql,
-- ON DELETE CASCADE from users.
--
--   last_version    the highest number ever given; never goes down, so that no number is given twice
--   latest_version  the highest one there is; null: all were deleted
--   revision        grows whenever latest_version or the body behind it changes. Its step is
--                   greatest(revision + 1, microseconds of clock_timestamp()), so that a restored dump, a lost head or
--                   an asynchronous failover does not hand out one that a cache has already seen for other bytes.
--
-- Locks are taken in one order: the users row, bodies that exist (by version), heads (by key). Deletes and updates leave
-- no choice there: a row is locked before any trigger of its table runs, and ON DELETE CASCADE is a delete. Heads before
-- bodies was tried: with strangers who delete it deadlocked three times as often. What is left is a stranger's max + 1
-- from an old snapshot that meets a delete of just that version; Postgres ends one of the two with 40P01.

-- No foreign key: a head outlives its bodies and its user. Every save updates its row in place, so pages keep room for
-- that (no updated column is indexed: the updates are HOT), and vacuum does not wait for a fifth of the table to die.
create table if not exists lora_adapter_heads (
  user_id uuid not null,
  adapter_name varchar(100) not null,
  last_version integer not null,
  latest_version integer,
  revision bigint not null,
  primary key (user_id, adapter_name)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);

-- The functions, in whatever schema this runs in. SECURITY DEFINER: a role that may only insert adapters has no right
-- on heads. Their search_path is pg_catalog alone and every table is named with its schema: with the schema itself on
-- the path, whoever may create in it could plant an operator `= (varchar, varchar)`, which fits better than any of
-- pg_catalog's, and run it as the owner.
--
-- The planner settings are about plans that live as long as a session: one made while heads was a page long, or for a
-- bulk load, would otherwise go on scanning the whole table for single rows.
do $migration$
declare
  users constant regclass := to_regclass('users');
  users_name text;
begin
  if to_regclass(format('%I.lora_adapters', current_schema())) is null then
    raise exception 'lora-store: schema % has no table lora_adapters: apply migration 002 first', current_schema();
  end if;
  if not has_table_privilege(users, 'select') or not has_any_column_privilege(users, 'update') then
    raise exception 'lora-store: role % needs SELECT and UPDATE on table %, to lock a user''s row', current_user, users;
  end if;
  select format('%I.%I', nspname, relname) into users_name
  from pg_class join pg_namespace on pg_namespace.oid = relnamespace where pg_class.oid = users;

  -- Before a row is inserted: lock its user, then its head, creating the head if there is none. The foreign key locks
  -- the user as well, but after the row, and a writer that held the head by then deadlocked with a save, which goes
  -- user first. The head is locked before the body exists, so that two writers of one adapter take turns.
  --
  -- In our own save the same command has just written this head. A volatile function sees that: the lock below finds
  -- the new row and is granted at once.
  execute format($create$
    create or replace function %1$I.lora_adapters_lock_head() returns trigger
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    as $body$
    begin
      perform 1 from %2$s where id = new.user_id for key share;
      loop
        perform 1 from %1$I.lora_adapter_heads
        where user_id = new.user_id and adapter_name = new.adapter_name
        for no key update;
        exit when found;
        -- Not the version about to be inserted: the insert may still come to nothing (ON CONFLICT DO NOTHING), and then
        -- the head would promise a body that is not there. A head without a body is true either way.
        insert into %1$I.lora_adapter_heads (user_id, adapter_name, last_version, latest_version, revision)
        values (new.user_id, new.adapter_name, 0, null, (extract(epoch from clock_timestamp()) * 1000000)::bigint)
        on conflict do nothing;
        exit when found;
        -- Somebody else made it first. DO NOTHING has waited for them but holds no lock: round again.
      end loop;
      return new;
    end
    $body$
  $create$, current_schema(), users_name);

  -- After a statement: make the heads of its rows true again. First they are locked, in key order, and only then, in a
  -- statement of its own and so with a snapshot of its own, is the latest version looked up: a snapshot taken before
  -- the lock was granted would miss what its holder has committed meanwhile.
  --
  -- Every head of the statement is written, also where nothing about it changes (an old version pruned): a REPEATABLE
  -- READ session that looks up the latest version with an older snapshot then fails with 40001 at the head instead of
  -- pointing it at a body that is gone.
  execute format($create$
    create or replace function %1$I.lora_adapters_settle_heads() returns trigger
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off
    as $body$
    declare
      users uuid[];
      names varchar[];
      versions integer[];
    begin
      if tg_op = 'TRUNCATE' then
        -- Nobody else is writing: TRUNCATE has waited for every writer, and holds them off until it commits.
        update %1$I.lora_adapter_heads
        set latest_version = null,
            revision = greatest(revision + 1, (extract(epoch from clock_timestamp()) * 1000000)::bigint)
        where latest_version is not null;
        return null;
      end if;

      if tg_op = 'INSERT' then
        -- Our own save has set the head itself and returned its revision, which must stay the final one.
        if not exists (
          select 1 from new_rows as n
          where not exists (
            select 1 from %1$I.lora_adapter_heads as h
            where h.user_id = n.user_id and h.adapter_name = n.adapter_name and h.latest_version = n.version)
        ) then
          return null;
        end if;
        select array_agg(user_id), array_agg(adapter_name), array_agg(version) into users, names, versions from new_rows;
      elsif tg_op = 'DELETE' then
        select array_agg(user_id), array_agg(adapter_name), array_agg(version) into users, names, versions from old_rows;
      else
        -- Both: an update may move a row from one adapter to another.
        select array_agg(user_id), array_agg(adapter_name), array_agg(version) into users, names, versions
        from (select user_id, adapter_name, version from old_rows
              union all
              select user_id, adapter_name, version from new_rows) as rows;
      end if;

      if tg_op = 'DELETE' then
        perform 1
        from (select distinct user_id, adapter_name from unnest(users, names) as r (user_id, adapter_name)) as k
        join %1$I.lora_adapter_heads as h using (user_id, adapter_name)
        order by h.user_id, h.adapter_name
        for no key update of h;
      else
        -- A row moved to a new adapter needs a head. Where there is one, DO UPDATE locks it and WHERE leaves it alone.
        insert into %1$I.lora_adapter_heads as h (user_id, adapter_name, last_version, latest_version, revision)
        select user_id, adapter_name, 0, null, (extract(epoch from clock_timestamp()) * 1000000)::bigint
        from (select distinct user_id, adapter_name from unnest(users, names) as r (user_id, adapter_name)) as k
        order by user_id, adapter_name
        on conflict (user_id, adapter_name) do update set revision = h.revision where false;
      end if;

      -- A version the statement touched and that is the latest now has another body, whatever else it did.
      update %1$I.lora_adapter_heads as h
      set last_version = greatest(h.last_version, b.latest),
          latest_version = b.latest,
          revision = case
            when b.latest is distinct from h.latest_version or b.latest = any (k.versions)
            then greatest(h.revision + 1, (extract(epoch from clock_timestamp()) * 1000000)::bigint)
            else h.revision
          end
      from (select user_id, adapter_name, array_agg(version) as versions
            from unnest(users, names, versions) as r (user_id, adapter_name, version)
            group by user_id, adapter_name) as k
      cross join lateral (select max(a.version) as latest from %1$I.lora_adapters as a
                          where a.user_id = k.user_id and a.adapter_name = k.adapter_name) as b
      where h.user_id = k.user_id and h.adapter_name = k.adapter_name;
      return null;
    end
    $body$
  $create$, current_schema());

  -- After a statement on heads: tell who listens, as part of the same commit. What counts is a revision that differs,
  -- so a head that was only written again (above) or has never had a body says nothing. One statement sends at most a
  -- hundred messages; past that a single '*' says: verify everything.
  -- EXCEPT rather than a join of new and old: it sorts, so a plan made for one row does not go quadratic on ten thousand.
  execute format($create$
    create or replace function %1$I.lora_adapter_heads_notify() returns trigger
    language plpgsql
    set search_path = pg_catalog, pg_temp
    as $body$
    declare
      messages text[];
    begin
      if tg_op = 'INSERT' then
        select array_agg(message) into messages
        from (select '{"u":"' || user_id || '","n":' || to_json(adapter_name) || ',"r":' || revision
                     || ',"v":' || latest_version || '}' as message
              from new_heads where latest_version is not null
              limit 101) as changed;
      elsif tg_op = 'UPDATE' then
        select array_agg(message) into messages
        from (select '{"u":"' || user_id || '","n":' || to_json(adapter_name) || ',"r":' || revision
                     || ',"v":' || coalesce(latest_version::text, 'null') || '}' as message
              from (select user_id, adapter_name, revision, latest_version from new_heads
                    except
                    select user_id, adapter_name, revision, latest_version from old_heads) as changed
              limit 101) as changed;
      else
        select array_agg(message) into messages
        from (select '{"u":"' || user_id || '","n":' || to_json(adapter_name) || ',"r":'
                     || greatest(revision + 1, (extract(epoch from clock_timestamp()) * 1000000)::bigint)
                     || ',"v":null}' as message
              from old_heads
              limit 101) as changed;
      end if;
      if cardinality(messages) > 100 then
        perform pg_notify('lora_store_heads', '*');
      else
        perform pg_notify('lora_store_heads', message) from unnest(messages) as message;
      end if;
      return null;
    end
    $body$
  $create$, current_schema());

  -- A trigger runs its function without asking who may; anyone who may could hang it on a table of their own.
  execute format('revoke all on function %1$I.lora_adapters_lock_head(), %1$I.lora_adapters_settle_heads(), '
                 '%1$I.lora_adapter_heads_notify() from public', current_schema());
end
$migration$;

-- The triggers and the heads of the rows that are there, in one transaction under a lock that lets readers pass and
-- makes writers wait. Without it a delete that began before the triggers were there, and had not committed when its row
-- was read here, would leave a head that points at nothing.
do $migration$
declare
  item record;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'lora-store: migration 003 has to see what was committed while it waited for its lock: run it under '
      'READ COMMITTED, not %', current_setting('transaction_isolation');
  end if;
  lock table lora_adapters in share row exclusive mode;

  for item in
    select need.name, need.definition
    from (values
      ('lora_adapters_lock_head', 'before insert on lora_adapters for each row execute function lora_adapters_lock_head()'),
      ('lora_adapters_settle_insert', 'after insert on lora_adapters referencing new table as new_rows '
        'for each statement execute function lora_adapters_settle_heads()'),
      ('lora_adapters_settle_update', 'after update on lora_adapters referencing old table as old_rows new table as new_rows '
        'for each statement execute function lora_adapters_settle_heads()'),
      ('lora_adapters_settle_delete', 'after delete on lora_adapters referencing old table as old_rows '
        'for each statement execute function lora_adapters_settle_heads()'),
      ('lora_adapters_settle_truncate', 'after truncate on lora_adapters '
        'for each statement execute function lora_adapters_settle_heads()'),
      ('lora_adapter_heads_notify_insert', 'after insert on lora_adapter_heads referencing new table as new_heads '
        'for each statement execute function lora_adapter_heads_notify()'),
      ('lora_adapter_heads_notify_update', 'after update on lora_adapter_heads referencing old table as old_heads '
        'new table as new_heads for each statement execute function lora_adapter_heads_notify()'),
      ('lora_adapter_heads_notify_delete', 'after delete on lora_adapter_heads referencing old table as old_heads '
        'for each statement execute function lora_adapter_heads_notify()')) as need (name, definition)
    where not exists (
      select from pg_trigger
      where tgname = need.name and tgrelid in ('lora_adapters'::regclass, 'lora_adapter_heads'::regclass))
  loop
    execute format('create trigger %I %s', item.name, item.definition);
  end loop;

  insert into lora_adapter_heads (user_id, adapter_name, last_version, latest_version, revision)
  select user_id, adapter_name, max(version), max(version), (extract(epoch from clock_timestamp()) * 1000000)::bigint
  from lora_adapters
  group by user_id, adapter_name
  on conflict do nothing;
end
$migration$;
