/**
 * How far a rebuild is, in a table of one row: written in the transactions that it tells of, so that whoever is killed in
 * the middle is gone on with from there. It is also the table whose index the wait for old snapshots makes (old-snapshots.ts).
 *
 * The row names its runner. The advisory lock that keeps others away ends with its session, and whoever held it may not hear of
 * that: the next one to get it writes his own name here, and every transaction that changes something holds the row under its.
 */
import { LoRAStorageError } from '../../errors.js';
import type { Session } from '../../postgres/database.js';
import { sqlState } from '../../postgres/failure.js';
import type { VersionKey } from '../version-file.js';
import type { Shape } from './shape.js';
import { once, type Site } from './site.js';

/**
 * build: the new table is not whole. copy: writers write to both. compare: all is copied. drop: the new one is in place, and
 * what is left of the old one has to go.
 */
export type Phase = 'build' | 'copy' | 'compare' | 'drop';

export interface Standing {
  readonly target: Shape;
  readonly phase: Phase;
  /** The last row of this phase that is done. */
  readonly after?: VersionKey;
  /** Rows that are done in this phase. */
  readonly rows: number;
}

export const TABLE = 'lora_store_rebuild';
/** Rows that a transaction wrote which could not see their copy; settled one by one before the swap. */
export const DOUBTS = 'lora_store_rebuild_doubts';

/** Undefined: none is under way. */
export async function readStanding({ tables, schema }: Site): Promise<Standing | undefined> {
  const [[there] = [false]] = await tables.rows<[boolean]>(
    once(`select pg_catalog.to_regclass('${schema}.${TABLE}') is not null`),
    [],
  );
  if (!there) return undefined;
  type Row = [number, Phase, string | null, string | null, number | null, number];
  const found = await tables.rows<Row>(
    once(`select partitions, phase, user_id, adapter_name, version, rows_done from ${schema}.${TABLE}`),
    [],
  );
  const [row] = found;
  if (row === undefined) return undefined;
  const [partitions, phase, userId, adapterName, version, rows] = row;
  const after = userId === null ? {} : { after: { userId, adapterName: adapterName ?? '', version: version ?? 0 } };
  return { target: { partitions }, phase, rows, ...after };
}

/** Waits for the transaction that the one before is in, if it is; he has none afterwards. */
export async function takeOver({ tables, schema, runner }: Site): Promise<void> {
  await tables.rows(once(`update ${schema}.${TABLE} set runner = $1`), [runner]).catch((error) => {
    if (sqlState(error.cause) !== UNDEFINED_TABLE) throw error;
  });
}

/** `work`, in a transaction at the end of which the rebuild is still ours, and in that phase. */
export function fenced<T>(
  site: Site,
  work: (session: Session) => Promise<T>,
  phase?: Phase,
): (session: Session) => Promise<T> {
  const held = once(
    `select phase from ${site.schema}.${TABLE} where runner = $1 and phase = coalesce($2, phase) for share`,
  );
  return async (session) => {
    const rows = await session.rows(held, [site.runner, phase]).catch((error) => {
      throw sqlState(error) === UNDEFINED_TABLE ? takenOver(error) : error;
    });
    if (rows.length === 0) throw takenOver();
    return await work(session);
  };
}

function takenOver(cause?: unknown): LoRAStorageError {
  return new LoRAStorageError(
    'another process has taken this over, or given it up, since the session that held it was lost: nothing more was done here',
    { cause },
  );
}

const UNDEFINED_TABLE = '42P01';
/** duplicate_table, and the same of one that is just being made. */
const THERE_ALREADY = ['42P07', '23505'];

/** before: one that has to be begun anew. */
export async function beginStanding(
  session: Session,
  site: Site,
  target: Shape,
  before: Standing | undefined,
): Promise<void> {
  const { schema, runner } = site;
  const drop = once(`drop table ${schema}.${TABLE}, ${schema}.${DOUBTS}`);
  if (before !== undefined) await fenced(site, () => session.rows(drop, []))(session);
  await session
    .rows(
      once(`create table ${schema}.${TABLE} (
      only_row boolean primary key default true check (only_row), partitions integer not null, phase text not null, runner uuid not null,
      user_id uuid, adapter_name varchar(100), version integer, rows_done bigint not null default 0)`),
      [],
    )
    .catch((error) => {
      // There was none when it was asked for: somebody who has the lock by now has begun one.
      throw THERE_ALREADY.includes(sqlState(error) ?? '') ? takenOver(error) : error;
    });
  await session.rows(
    once(
      `create table ${schema}.${DOUBTS} (user_id uuid not null, adapter_name varchar(100) not null, version integer not null)`,
    ),
    [],
  );
  await session.rows(
    once(`insert into ${schema}.${TABLE} (partitions, phase, runner) values (${target.partitions}, 'build', $1)`),
    [runner],
  );
}

export async function enterPhase(session: Session, site: Site, phase: Phase): Promise<void> {
  await note(session, site, 'phase = $2, user_id = null, adapter_name = null, version = null, rows_done = 0', [phase]);
}

export async function notePlace(session: Session, site: Site, after: VersionKey, rows: number): Promise<void> {
  const { userId, adapterName, version } = after;
  const place = [userId, adapterName, version, rows];
  await note(session, site, 'user_id = $2, adapter_name = $3, version = $4, rows_done = $5', place);
}

async function note(session: Session, site: Site, what: string, values: readonly unknown[]): Promise<void> {
  const noted = once(`update ${site.schema}.${TABLE} set ${what} where runner = $1`);
  await fenced(site, () => session.rows(noted, [site.runner, ...values]))(session);
}

export async function endStanding(session: Session, { schema }: Site): Promise<void> {
  await session.rows(once(`drop table if exists ${schema}.${DOUBTS}, ${schema}.${TABLE}`), []);
}
