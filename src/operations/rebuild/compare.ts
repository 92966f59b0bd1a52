/**
 * Whether both tables hold the same: rows counted on both sides, and a SHA-256 over every column of each compared, a range of
 * keys at a time. Each range is one statement, and so one snapshot of both tables: what writers do meanwhile is in both or
 * in neither.
 */
import { LoRAStorageError } from '../../errors.js';
import type { Session } from '../../postgres/database.js';
import type { VersionKey } from '../version-file.js';
import { fenced, notePlace, type Standing } from './bookkeeping.js';
import { type KeyRow, keyBatches, keyOf } from './copy.js';
import { columnsOf } from './mirror.js';
import { KEY, once, type Site } from './site.js';

const FIRST: VersionKey = { userId: '00000000-0000-0000-0000-000000000000', adapterName: '', version: -(2 ** 31) };

/** Resolves with the rows that were compared. Throws at the first range with a difference, which it names. */
export async function compareRows(
  site: Site,
  standing: Standing,
  signal: AbortSignal,
  onProgress: (rows: number) => void,
): Promise<number> {
  let { rows, after = FIRST } = standing;
  const compare = comparing(site, await columnsOf(site.tables, site));
  for await (const batch of keyBatches(site, standing.after)) {
    signal.throwIfAborted();
    const to = keyOf(batch.at(-1) as KeyRow);
    const from = after;
    const done = rows;
    const work = async (session: Session) => {
      const all = done + (await compare(session, from, to));
      await notePlace(session, site, to, all);
      return all;
    };
    rows = await site.tables.transaction(fenced(site, work));
    after = to;
    onProgress(rows);
  }
  return rows + (await site.tables.transaction(fenced(site, (session) => compare(session, after, undefined))));
}

/** from exclusive, to inclusive; undefined: to the end. Of FIRST, which no row can have, everything is behind. */
function comparing({ live, next }: Site, columns: readonly string[]) {
  const rest = columns.filter((name) => name !== 'weights').join(', ');
  const side = (table: string) => `
    select ${KEY}, pg_catalog.sha256(weights) as body, pg_catalog.sha256(textsend(row(${rest})::text)) as rest from ${table}
    where (${KEY}) > ($1::uuid, $2::varchar, $3::int4) and ($4::uuid is null or (${KEY}) <= ($4::uuid, $5::varchar, $6::int4))`;
  const statement = once(`
    with l as materialized (${side(live)}), n as materialized (${side(next)}),
    different as (
      select user_id, adapter_name, version, case when n.body is null then 'missing' when l.body is null then 'too many' else 'another' end
      from l full join n using (${KEY}) where l.body is distinct from n.body or l.rest is distinct from n.rest
    )
    select (select count(*) from l), (select count(*) from n), (select count(*) from different),
      (select format('%s: ''%s'' version %s of user %s', d.case, d.adapter_name, d.version, d.user_id)
       from different d order by ${KEY} limit 1)`);
  return async (session: Session, from: VersionKey, to: VersionKey | undefined): Promise<number> => {
    type Row = [live: number, next: number, different: number, first: string | null];
    const values = [from.userId, from.adapterName, from.version, to?.userId, to?.adapterName, to?.version];
    const [[count, copied, different, first] = [0, 0, 0, null]] = await session.rows<Row>(statement, values);
    if (different === 0 && count === copied) return count;
    throw new LoRAStorageError(
      `the new table is not what lora_adapters is: ${different} of ${count} rows differ, the first one ${first}. lora_adapters is ` +
        'as it was, and goes on being used. Take the new one away with `lora-store partition --cancel`, and begin again',
    );
  };
}
