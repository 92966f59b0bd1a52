/**
 * Copies what is there, in the order of the key, some megabytes at a time, each batch in a transaction of its own.
 *
 * A row is held FOR SHARE while its copy is made, so that nobody deletes or rewrites it between the two: without that a delete
 * would find no copy to delete, and the copy would bring the row back. Its user is held first, as every other write does. What
 * somebody else holds is not waited for while anything is held here: it is passed over, waited for with empty hands, and
 * copied then. So no writer is ever in a deadlock with this.
 */
import pg from 'pg';
import { LoRAStorageError } from '../../errors.js';
import type { Session } from '../../postgres/database.js';
import { batches } from '../batches.js';
import { retrying } from '../retrying.js';
import type { VersionKey } from '../version-file.js';
import { fenced, notePlace, type Standing } from './bookkeeping.js';
import type { BriefLocks } from './brief-lock.js';
import { columnsOf } from './mirror.js';
import { KEY, once, type Site } from './site.js';

const PAGE_KEYS = 1000;
const BATCH_ROWS = 250;
const BEFORE_ALL = { userId: '00000000-0000-0000-0000-000000000000', adapterName: '', version: -(2 ** 31) };

export type KeyRow = [userId: string, adapterName: string, version: number, bytes: number];

/** Rows of the live table behind a key, in batches of bounded bytes. */
export async function* keyBatches({ tables, live }: Site, after: VersionKey = BEFORE_ALL): AsyncGenerator<KeyRow[]> {
  const page = once(
    `select ${KEY}, octet_length(weights) from ${live} where (${KEY}) > ($1::uuid, $2::varchar, $3::int4)
     order by ${KEY} limit ${PAGE_KEYS}`,
  );
  for (let at = after; ; ) {
    const keys = await tables.rows<KeyRow>(page, [at.userId, at.adapterName, at.version]);
    const last = keys.at(-1);
    if (last === undefined) return;
    yield* batches(keys, ([, , , bytes]) => bytes, BATCH_ROWS);
    at = keyOf(last);
  }
}

export function keyOf([userId, adapterName, version]: KeyRow): VersionKey {
  return { userId, adapterName, version };
}

/** Goes on behind `standing.after`. patience: with rows that somebody holds. What is in the new table already is left as it is there: a writer's mirror made it. */
export async function copyRows(
  site: Site,
  standing: Standing,
  signal: AbortSignal,
  patience: BriefLocks,
  onProgress: (rows: number) => void,
): Promise<number> {
  let { rows } = standing;
  const copy = copying(site, await columnsOf(site.tables, site));
  for await (const batch of keyBatches(site, standing.after)) {
    signal.throwIfAborted();
    rows += batch.length;
    for (let left = batch; left.length > 0; ) {
      const work = async (session: Session) => {
        const held = await copy(session, left);
        if (held.length === 0) await notePlace(session, site, keyOf(batch.at(-1) as KeyRow), rows);
        return held;
      };
      left = await retrying(site.tables, fenced(site, work)).catch(impossible);
      if (left.length > 0) await waitFor(site, patience, left[0] as KeyRow);
      signal.throwIfAborted();
    }
    onProgress(rows);
  }
  return rows;
}

/**
 * Of one plain table, id is the primary key; of partitions it is one for each user. And a user that was deleted where no trigger
 * fires, as a subscription and pg_restore do, has left his adapters.
 */
function impossible(error: Error): never {
  const { cause } = error;
  if (!(cause instanceof pg.DatabaseError)) throw error;
  const giveUp = 'or give this up with `lora-store partition --cancel`; lora_adapters is as it was';
  if (cause.constraint === 'lora_adapters_next_pkey') {
    throw new LoRAStorageError(
      `two rows of lora_adapters have one id, which one plain table cannot have: ${cause.detail} Give one of them another id, ${giveUp}`,
      { cause },
    );
  }
  if (cause.code !== '23503') throw error;
  throw new LoRAStorageError(
    `a row of lora_adapters refers to what is not there, against its foreign key ${cause.constraint}: ${cause.detail} Delete the row, or ` +
      `make what it refers to, ${giveUp}`,
    { cause },
  );
}

/** Answers with the keys that are there and were not copied, because somebody holds them. */
function copying({ live, next }: Site, columns: readonly string[]) {
  const mine = columns.join(', ');
  const statement = once(`
    with k as (
      select * from unnest($1::uuid[], $2::varchar[], $3::int4[]) as k(user_id, adapter_name, version)
    ), owners as materialized (
      select id from users where id in (select user_id from k) order by id for key share skip locked
    ), held as materialized (
      select a.* from ${live} a join k using (user_id, adapter_name, version)
      where a.user_id in (select id from owners) or not exists (select from users u where u.id = a.user_id)
      order by a.user_id, a.adapter_name, a.version for share of a skip locked
    ), copied as (
      insert into ${next} (${mine}) select ${mine} from held on conflict (${KEY}) do nothing
    )
    select k.user_id, k.adapter_name, k.version, 0 from k where (${KEY}) not in (select ${KEY} from held)`);
  const there = once(
    `select a.user_id, a.adapter_name, a.version, 0 from ${live} a
     join unnest($1::uuid[], $2::varchar[], $3::int4[]) as k(user_id, adapter_name, version) using (user_id, adapter_name, version)
     order by a.user_id, a.adapter_name, a.version`,
  );
  return async (session: Session, keys: readonly KeyRow[]): Promise<KeyRow[]> => {
    const missed = await session.rows<KeyRow>(statement, columnsOfKeys(keys));
    return missed.length === 0 ? [] : await session.rows<KeyRow>(there, columnsOfKeys(missed));
  };
}

export function columnsOfKeys(keys: readonly KeyRow[]): [string[], string[], number[]] {
  return [keys.map(([user]) => user), keys.map(([, name]) => name), keys.map(([, , version]) => version)];
}

/** Until nobody holds this row or its user. Holds neither while it waits, nor afterwards. */
async function waitFor({ live }: Site, patience: BriefLocks, [userId, adapterName, version]: KeyRow): Promise<void> {
  await patience.take((session) => session.rows(once('select from users where id = $1 for key share'), [userId]));
  await patience.take((session) =>
    session.rows(once(`select from ${live} where user_id = $1 and adapter_name = $2 and version = $3 for share`), [
      userId,
      adapterName,
      version,
    ]),
  );
}
