/**
 * While the new table is filled, every write to the live one is made to it as well, in the same transaction: by row triggers,
 * which fire for a partition that is named directly, too, and know the rows of any statement. TRUNCATE has none of those.
 *
 * The copy (copy.ts) holds a row FOR SHARE from when it reads it until its copy is committed. So a write of a row that is
 * copied sees the copy, and one of a row that is not has nothing to do: it is what will be copied. With one exception: a
 * transaction whose snapshot is older than the copy (REPEATABLE READ) writes the row and cannot see the copy of it. It leaves
 * the key in a table of doubts, which is settled when no such snapshot is left.
 */
import { LoRAStorageError } from '../../errors.js';
import type { Session } from '../../postgres/database.js';
import { DOUBTS } from './bookkeeping.js';
import { KEY, obey, once, runAll, type Site } from './site.js';

const MIRROR = 'lora_store_rebuild_mirror';
const COLUMNS = 'lora_store_rebuild_columns';

/**
 * Waits for every writer of the live table, and lets none in until it is committed. Always: what a subscription applies, or
 * pg_restore with --disable-triggers, fires no other trigger.
 */
export async function startMirror(session: Session, site: Site): Promise<void> {
  const { schema, live } = site;
  await createFunctions(session, site);
  await runAll(session, [
    `revoke all on function ${schema}.${MIRROR}(), ${schema}.${MIRROR}_truncate() from public`,
    `create trigger ${MIRROR} after insert or update or delete on ${live}
       for each row execute function ${schema}.${MIRROR}()`,
    // Fires never. A column that the mirror names and its owner drops would make every save fail: of one that a trigger depends on,
    // Postgres refuses that, and another type. The mirror itself names none here, or would miss an update of a column that came since.
    `create trigger ${COLUMNS} after update of ${(await columnsOf(session, site)).join(', ')} on ${live}
       for each statement when (false) execute function ${schema}.${MIRROR}_truncate()`,
  ]);
  await obey(
    session,
    `select format('create trigger ${MIRROR}_truncate after truncate on %s for each statement execute function ${schema}.${MIRROR}_truncate()', oid::regclass)
     from pg_catalog.pg_class where oid = '${live}'::regclass
       or oid in (select inhrelid from pg_catalog.pg_inherits where inhparent = '${live}'::regclass)`,
  );
  await obey(
    session,
    `select format('alter table %s enable always trigger %I', tgrelid::regclass, tgname) from pg_catalog.pg_trigger
     where tgname in (${TRIGGERS}) and tgrelid in (${tablesOf(site)})`,
  );
}

/** Under a lock that no writer passes. One that was disabled, or dropped, has missed nobody knows what. */
export async function refuseUnmirrored(session: Session, site: Site): Promise<void> {
  const [[table] = [null]] = await session.rows<[string | null]>(
    once(`select min(oid::regclass::text) from (${tablesOf(site)}) as t(oid) where 2 > (
      select count(*) from pg_catalog.pg_trigger where tgrelid = t.oid and tgname in (${TRIGGERS}) and tgenabled = 'A')`),
    [],
  );
  if (table === null) return;
  throw new LoRAStorageError(
    `somebody has disabled or dropped a trigger on ${table} that writes to both tables (${MIRROR}): what was written without it is not ` +
      'in the new one. Take that away with `lora-store partition --cancel`, and begin again',
  );
}

const TRIGGERS = `'${MIRROR}', '${MIRROR}_truncate'`;

/** The live one and its partitions. */
function tablesOf({ live }: Site): string {
  return `select '${live}'::regclass::oid union all select inhrelid from pg_catalog.pg_inherits where inhparent = '${live}'::regclass`;
}

/** Its triggers go with their functions, on whichever table they are. */
export async function stopMirror(session: Session, { schema, live }: Site): Promise<void> {
  await runAll(session, [
    `lock table ${live} in access exclusive mode`,
    `drop function if exists ${schema}.${MIRROR}(), ${schema}.${MIRROR}_truncate() cascade`,
  ]);
}

/** The columns that a row consists of, in one order for every statement; what is generated follows from them. */
export async function columnsOf(session: Session, { live }: Site): Promise<string[]> {
  const rows = await session.rows<[string]>(
    once(`select quote_ident(attname) from pg_catalog.pg_attribute
      where attrelid = '${live}'::regclass and attnum > 0 and not attisdropped and attgenerated = '' order by attnum`),
    [],
  );
  return rows.map(([name]) => name);
}

async function createFunctions(session: Session, site: Site): Promise<void> {
  const { schema, live, next } = site;
  const columns = await columnsOf(session, site);
  const mine = columns.join(', ');
  const its = columns.map((name) => `new.${name}`).join(', ');
  const excluded = columns.map((name) => `excluded.${name}`).join(', ');
  const insert = `insert into ${next} (${mine}) values (${its}) on conflict (${KEY}) do update set (${mine}) = row(${excluded})`;
  const isOld = 'user_id = old.user_id and adapter_name = old.adapter_name and version = old.version';
  // Its plans are made while the new table is empty, and live as long as a session.
  await session.rows(
    once(`create or replace function ${schema}.${MIRROR}() returns trigger
      language plpgsql security definer
      set search_path = pg_catalog, pg_temp
      set enable_seqscan = off set jit = off
      as $body$
      declare
        unseen boolean := false;
        moved boolean := tg_op = 'INSERT';
      begin
        if tg_op = 'UPDATE' then
          moved := (new.user_id, new.adapter_name, new.version) is distinct from (old.user_id, old.adapter_name, old.version);
        end if;
        if tg_op = 'UPDATE' and not moved then
          update ${next} set (${mine}) = row(${its}) where ${isOld};
          unseen := not found;
        elsif tg_op <> 'INSERT' then
          delete from ${next} where ${isOld};
          unseen := not found;
        end if;
        if unseen and current_setting('transaction_isolation') <> 'read committed' then
          insert into ${schema}.${DOUBTS} values (old.user_id, old.adapter_name, old.version);
          if moved then
            -- Beside a copy that is not seen, which has the same id, it could not stand.
            insert into ${schema}.${DOUBTS} values (new.user_id, new.adapter_name, new.version);
          end if;
        elsif moved and current_setting('transaction_isolation') = 'read committed' then
          ${insert};
        elsif moved then
          begin
            ${insert};
          exception when unique_violation then
            -- Beside a copy that is not seen, of a row that is gone. In a newer transaction it would stand.
            raise exception 'could not serialize access: lora_adapters is rebuilt, and a copy is newer than this transaction'
              using errcode = '40001';
          end;
        end if;
        return null;
      end
      $body$`),
    [],
  );
  // What was truncated is what is there no more: the whole table, or a partition of it. Through an older snapshot nobody can
  // tell: what was copied since is not seen, and stays.
  await session.rows(
    once(`create or replace function ${schema}.${MIRROR}_truncate() returns trigger
      language plpgsql security definer
      set search_path = pg_catalog, pg_temp
      set jit = off
      as $body$
      begin
        if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
          raise exception 'truncate at READ COMMITTED while lora_adapters is rebuilt' using errcode = '0A000';
        end if;
        delete from ${next} as n where not exists (
          select from ${live} as a
          where a.user_id = n.user_id and a.adapter_name = n.adapter_name and a.version = n.version);
        return null;
      end
      $body$`),
    [],
  );
}
