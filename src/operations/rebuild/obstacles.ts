/**
 * What a new table in the place of the old one would lose without a word. Whatever depends on lora_adapters is asked of the
 * catalogs, and everything that is not known to be carried over is named: what nobody thought of here is refused, too.
 */
import { LoRAStorageError } from '../../errors.js';
import type { Session } from '../../postgres/database.js';
import { once } from './site.js';

/** In words that name each thing; none where all is carried over. */
export async function obstacles(session: Session): Promise<string[]> {
  return (await session.rows<[string]>(OBSTACLES, [])).map(([thing]) => thing);
}

export async function refuseObstacles(session: Session): Promise<void> {
  const found = await obstacles(session);
  if (found.length === 0) return;
  throw new LoRAStorageError(
    `a new table in the place of lora_adapters would be without: ${found.join('; ')}. Take that away first, and make it again ` +
      'afterwards; lora_adapters is as it was',
  );
}

/** Whose names a rebuild carries over, or brings itself. */
const TRIGGERS = `
  'lora_adapters_touch', 'lora_adapters_clear_checksum', 'lora_adapters_lock_head', 'lora_adapters_settle_insert',
  'lora_adapters_settle_update', 'lora_adapters_settle_delete', 'lora_adapters_settle_truncate',
  'lora_store_rebuild_mirror', 'lora_store_rebuild_mirror_truncate', 'lora_store_rebuild_columns'`;

/** Columns of the indexes that every shape has, or makes up for. Uniqueness of the key does not depend on their order. */
const INDEXES = `
  ('id'), ('user_id,id'), ('user_id,adapter_name,version'), ('user_id,updated_at'), ('created_at')`;

const OBSTACLES = once(`
  with me as (select * from pg_catalog.pg_class where oid = 'lora_adapters'::regclass),
  parts as (
    select oid from me
    union all select inhrelid from pg_catalog.pg_inherits where inhparent = (select oid from me)
  ), types as (
    select t.oid from pg_catalog.pg_type t join pg_catalog.pg_class c on c.reltype = t.oid where c.oid in (select oid from parts)
    union all
    select t.typarray from pg_catalog.pg_type t join pg_catalog.pg_class c on c.reltype = t.oid where c.oid in (select oid from parts)
  ), indexes as (
    select i.indexrelid as oid, i.indrelid, i.indisunique,
      (select string_agg(a.attname, ',' order by array_position(i.indkey::int2[], a.attnum)) from pg_catalog.pg_attribute a
       where a.attrelid = i.indrelid and a.attnum = any (i.indkey::int2[])) as columns
    from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid
    where i.indrelid in (select oid from parts) and not c.relispartition and i.indpred is null and i.indexprs is null and i.indisvalid
      and i.indnatts = i.indnkeyatts and i.indimmediate and c.relam = (select oid from pg_catalog.pg_am where amname = 'btree')
      and not exists (select from pg_catalog.pg_opclass o where o.oid = any (i.indclass::oid[]) and not o.opcdefault)
      and not exists (
        select from unnest(i.indkey::int2[], i.indcollation::oid[]) as k(attnum, collation_)
        join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum where a.attcollation <> k.collation_)
  ), known as (
    select oid from indexes
    where not indisunique and columns in (select * from (values ${INDEXES}) as k(columns))
      or indisunique and indrelid = (select oid from me) and (columns in ('id', 'user_id,id')
        or array(select unnest(string_to_array(columns, ',')) order by 1) = array['adapter_name', 'user_id', 'version'])
  ), leaves as (
    select c.oid, c.relowner, c.relacl, c.reltablespace, array(select unnest(c.reloptions) order by 1) as options,
      array(select unnest(t.reloptions) order by 1) as toast, first_value(c.oid) over (order by c.oid) as first
    from pg_catalog.pg_class c left join pg_catalog.pg_class t on t.oid = c.reltoastrelid
    where c.oid in (select oid from parts) and c.relkind = 'r'
  ), partitions as (
    select * from leaves where oid <> (select oid from me)
  ), dependent as (
    select d.classid, d.objid, d.objsubid
    from pg_catalog.pg_depend d
    where d.deptype in ('n', 'a')
      and (d.refclassid = 'pg_class'::regclass and d.refobjid in (select oid from parts)
        or d.refclassid = 'pg_type'::regclass and d.refobjid in (select oid from types))
  )
  select thing from (
    select pg_catalog.pg_describe_object(classid, objid, objsubid) as thing
    from dependent d
    where not (classid = 'pg_attrdef'::regclass
      or classid = 'pg_class'::regclass and (objid in (select oid from parts union all select oid from known)
        -- What Postgres made on a partition for something of the whole table, which is told itself.
        or exists (select from pg_catalog.pg_class c where c.oid = d.objid and c.relispartition))
      or classid = 'pg_constraint'::regclass and exists (
        select from pg_catalog.pg_constraint c where c.oid = d.objid and (c.conparentid <> 0
          or c.conrelid in (select oid from parts) and c.contype in ('p', 'u', 'c', 'f', 'n')
            and c.confrelid not in (select oid from parts)))
      or classid = 'pg_trigger'::regclass and exists (
        select from pg_catalog.pg_trigger t where t.oid = d.objid and (t.tgisinternal or t.tgparentid <> 0 or t.tgname in (${TRIGGERS}))))
    union
    -- Of all tables, or all of a schema: nothing depends on that, and subscribers know no table but this one.
    select 'publication ' || p.pubname || ', which publishes it among all tables, or those of its schema'
    from pg_catalog.pg_publication_tables p
    join pg_catalog.pg_publication pub on pub.pubname = p.pubname
    where to_regclass(format('%I.%I', p.schemaname, p.tablename)) in (select oid from parts)
      and not exists (select from pg_catalog.pg_publication_rel r where r.prpubid = pub.oid and r.prrelid in (select oid from parts))
    union
    -- It knows the table by its oid, and would pass over the new one without a word. Of pg_subscription itself, not every role may
    -- read the oid before 14.
    select 'subscription ' || s.subname || ', which writes to it'
    from pg_catalog.pg_subscription_rel r join pg_catalog.pg_stat_subscription s on s.subid = r.srsubid
    where r.srrelid in (select oid from parts)
    union
    select pg_catalog.pg_describe_object('pg_class'::regclass, i.indexrelid, 0)
    from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid
    where i.indrelid in (select oid from parts) and not c.relispartition and i.indexrelid not in (select oid from known)
    union
    select what || pg_catalog.pg_describe_object('pg_class'::regclass, i.indexrelid, 0)
    from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid join pg_catalog.pg_class t on t.oid = i.indrelid
    left join pg_catalog.pg_inherits h on h.inhrelid = c.oid left join pg_catalog.pg_class whole on whole.oid = h.inhparent,
    unnest(array[
      case when c.reloptions is distinct from whole.reloptions then 'the settings of ' end,
      case when c.relkind = 'i' and c.reltablespace <> t.reltablespace then 'the tablespace of ' end,
      case when i.indisclustered then 'that it is clustered by ' end]) as what
    where i.indrelid in (select oid from parts)
    union
    -- Of a partition alone.
    select pg_catalog.pg_describe_object('pg_constraint'::regclass, c.oid, 0)
    from pg_catalog.pg_constraint c
    where c.conrelid in (select oid from partitions) and c.contype in ('c', 'f', 'n') and c.conparentid = 0 and c.coninhcount = 0
    union
    select what || pg_catalog.pg_describe_object('pg_class'::regclass, p.oid, 0)
    from partitions p, unnest(array[
      case when relowner <> (select relowner from me) then 'the owner of ' end,
      case when exists (select from pg_catalog.aclexplode(p.relacl) where grantee <> p.relowner)
          or (select count(distinct privilege_type) from pg_catalog.aclexplode(p.relacl) where grantee = p.relowner)
            < (select count(*) from pg_catalog.aclexplode(pg_catalog.acldefault('r', p.relowner)) where p.relacl is not null)
          or exists (select from pg_catalog.pg_attribute where attrelid = p.oid and attacl is not null and not attisdropped)
        then 'the rights on ' end]) as what
    union
    select 'the settings or the tablespace of ' || pg_catalog.pg_describe_object('pg_class'::regclass, p.oid, 0) || ', which are not those of '
      || pg_catalog.pg_describe_object('pg_class'::regclass, p.first, 0)
    from partitions p join partitions f on f.oid = p.first
    where (p.reltablespace, p.options, p.toast) is distinct from (f.reltablespace, f.options, f.toast)
    union
    select 'the settings of ' || pg_catalog.pg_describe_object('pg_class'::regclass, a.attrelid, a.attnum)
    from partitions p join pg_catalog.pg_attribute a on a.attrelid = p.oid
    join pg_catalog.pg_attribute w on w.attrelid = (select oid from me) and w.attname = a.attname
    left join pg_catalog.pg_attrdef ad on ad.adrelid = a.attrelid and ad.adnum = a.attnum
    left join pg_catalog.pg_attrdef wd on wd.adrelid = w.attrelid and wd.adnum = w.attnum
    where a.attnum > 0 and not a.attisdropped and (a.attstorage <> w.attstorage or a.attnotnull <> w.attnotnull
      or case when a.attlen < 0 then to_jsonb(a) ->> 'attcompression' <> to_jsonb(w) ->> 'attcompression' end
      or case when ad.adbin::text is distinct from wd.adbin::text
        then pg_catalog.pg_get_expr(ad.adbin, ad.adrelid) is distinct from pg_catalog.pg_get_expr(wd.adbin, wd.adrelid) end)
    union
    select 'the comment on ' || pg_catalog.pg_describe_object(c.classoid, c.objoid, c.objsubid)
    from pg_catalog.pg_description c
    where c.classoid = 'pg_class'::regclass and c.objoid in (
        select indexrelid from pg_catalog.pg_index where indrelid in (select oid from parts) union all select oid from partitions)
      or c.classoid = 'pg_constraint'::regclass and c.objoid in (
        select oid from pg_catalog.pg_constraint
        where conrelid = (select oid from me) and contype <> 'c' or conrelid in (select oid from partitions))
      or c.classoid = 'pg_trigger'::regclass and c.objoid in (
        select oid from pg_catalog.pg_trigger where tgrelid in (select oid from parts))
    union
    select pg_catalog.pg_describe_object('pg_constraint'::regclass, oid, 0) || ', which is not validated'
    from pg_catalog.pg_constraint where conrelid = (select oid from me) and not convalidated and conparentid = 0
    union
    select pg_catalog.pg_describe_object('pg_constraint'::regclass, oid, 0) || ', which partitions cannot have'
    from pg_catalog.pg_constraint where conrelid = (select oid from me) and contype = 'c' and connoinherit
    union
    select 'the settings of column ' || attname || ' (statistics, options or identity)'
    from pg_catalog.pg_attribute where attrelid in (select oid from parts) and attnum > 0 and not attisdropped
      and (coalesce(attstattarget, -1) <> -1 or attoptions is not null or attidentity <> '')
    union
    select 'its security label' from pg_catalog.pg_seclabel
    where classoid = 'pg_class'::regclass and objoid in (select oid from parts)
    union
    select case when oid = (select oid from me) then what else what || ', of ' || pg_catalog.pg_describe_object('pg_class'::regclass, oid, 0) end
    from pg_catalog.pg_class, unnest(array[
      case when relpersistence <> 'p' then 'that it is unlogged or temporary' end,
      case when relrowsecurity or relforcerowsecurity then 'its row level security' end,
      case when relreplident <> 'd' then 'its replica identity' end,
      case when reloftype <> 0 then 'the type that it is of' end,
      case when relam not in (0, (select oid from pg_catalog.pg_am where amname = 'heap')) then 'its access method' end]) as what
    where oid in (select oid from parts)
    union
    select unnest(array[
      case when relispartition or (relkind = 'r' and relhassubclass) then 'its place in an inheritance' end,
      case when not exists (select from indexes where indrelid = me.oid and indisunique and columns in ('id', 'user_id,id'))
        then 'uniqueness of id, which it has not' end])
    from me
  ) as found
  where thing is not null order by thing`);
