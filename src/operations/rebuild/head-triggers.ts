/**
 * The triggers that keep heads true, on the partitions themselves. Those for each row are cloned from the partitioned table
 * by Postgres. Those for each statement fire only on the table that the statement names: for one that names a partition they
 * have to be there, too.
 */
import type { Session } from '../../postgres/database.js';
import type { BriefLocks } from './brief-lock.js';
import { obey, once, type Site } from './site.js';

const SETTLING = {
  lora_adapters_settle_insert: 'after insert on % referencing new table as new_rows',
  lora_adapters_settle_update: 'after update on % referencing old table as old_rows new table as new_rows',
  lora_adapters_settle_delete: 'after delete on % referencing old table as old_rows',
  lora_adapters_settle_truncate: 'after truncate on %',
} as const;

/**
 * What a truncated partition leaves: heads without a body. lora_adapters_settle_heads() takes any TRUNCATE for one of all
 * adapters. Nothing else can be in that state at that moment: whoever deletes bodies settles their heads in the same commit.
 */
export async function createSettlePartition(session: Session, { schema }: Site): Promise<void> {
  await session.rows(
    once(`create or replace function ${schema}.lora_adapters_settle_partition() returns trigger
      language plpgsql security definer
      set search_path = pg_catalog, pg_temp
      set jit = off
      as $body$
      begin
        update ${schema}.lora_adapter_heads as h
        set latest_version = null,
            revision = greatest(revision + 1, (extract(epoch from clock_timestamp()) * 1000000)::bigint)
        where latest_version is not null and not exists (
          select from ${schema}.lora_adapters as b where b.user_id = h.user_id and b.adapter_name = h.adapter_name);
        return null;
      end
      $body$`),
    [],
  );
  await session.rows(once(`revoke all on function ${schema}.lora_adapters_settle_partition() from public`), []);
}

export async function dropSettlePartition(session: Session, { schema }: Site): Promise<void> {
  await session.rows(once(`drop function if exists ${schema}.lora_adapters_settle_partition()`), []);
}

/** Leaves those alone that are there. partition: with its schema. */
export async function createPartitionTriggers(session: Session, { schema }: Site, partition: string): Promise<void> {
  const there = await session.rows<[string]>(
    once(
      `select tgname::text from pg_catalog.pg_trigger where tgrelid = '${partition}'::regclass and not tgisinternal`,
    ),
    [],
  );
  const names = new Set(there.map(([name]) => name));
  for (const [name, when] of Object.entries(SETTLING)) {
    if (names.has(name)) continue;
    const run =
      name === 'lora_adapters_settle_truncate' ? 'lora_adapters_settle_partition' : 'lora_adapters_settle_heads';
    const trigger = `${when.replace('%', partition)} for each statement execute function ${schema}.${run}()`;
    await session.rows(once(`create trigger ${name} ${trigger}`), []);
  }
}

/** How many partitions of the live table were without some of them, or had one disabled, and have them now. */
export async function mendPartitionTriggers(session: Session, site: Site, locks: BriefLocks): Promise<number> {
  const { schema, live } = site;
  const short = await session.rows<[string]>(
    once(`select format('${schema}.%I', c.relname)
      from pg_catalog.pg_inherits i join pg_catalog.pg_class c on c.oid = i.inhrelid
      where i.inhparent = '${live}'::regclass and (
        select count(*) from pg_catalog.pg_trigger t
        where t.tgrelid = c.oid and t.tgenabled in ('O', 'A') and t.tgname like 'lora\\_adapters\\_%') < (
        select count(*) from pg_catalog.pg_trigger t where t.tgrelid = i.inhparent and t.tgname like 'lora\\_adapters\\_%')
      order by 1`),
    [],
  );
  if (short.length === 0) return 0;
  await locks.outvacuum(session, ...short.map(([partition]) => partition));
  await createSettlePartition(session, site);
  for (const [partition] of short) {
    await createPartitionTriggers(session, site, partition);
    await obey(
      session,
      `select format('alter table ${partition} enable trigger %I', tgname) from pg_catalog.pg_trigger
       where tgrelid = '${partition}'::regclass and tgenabled not in ('O', 'A') and tgname like 'lora\\_adapters\\_%'`,
    );
  }
  return short.length;
}
