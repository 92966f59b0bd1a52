/**
 * How far a rebuild is, in a table of one row: written in the transactions that it tells of, so that whoever is killed in
 * the middle is gone on with from there. It is also the table whose index the wait for old snapshots makes (old-snapshots.ts).
 */
import type { Session } from '../../postgres/database.js';
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

export async function beginStanding(session: Session, { schema }: Site, target: Shape): Promise<void> {
  await session.rows(once(`drop table if exists ${schema}.${TABLE}, ${schema}.${DOUBTS}`), []);
  await session.rows(
    once(`create table ${schema}.${TABLE} (
      only_row boolean primary key default true check (only_row), partitions integer not null, phase text not null,
      user_id uuid, adapter_name varchar(100), version integer, rows_done bigint not null default 0)`),
    [],
  );
  await session.rows(
    once(
      `create table ${schema}.${DOUBTS} (user_id uuid not null, adapter_name varchar(100) not null, version integer not null)`,
    ),
    [],
  );
  await session.rows(
    once(`insert into ${schema}.${TABLE} (partitions, phase) values (${target.partitions}, 'build')`),
    [],
  );
}

export async function enterPhase(session: Session, { schema }: Site, phase: Phase): Promise<void> {
  await session.rows(
    once(
      `update ${schema}.${TABLE} set phase = $1, user_id = null, adapter_name = null, version = null, rows_done = 0`,
    ),
    [phase],
  );
}

export async function notePlace(session: Session, { schema }: Site, after: VersionKey, rows: number): Promise<void> {
  await session.rows(
    once(`update ${schema}.${TABLE} set user_id = $1, adapter_name = $2, version = $3, rows_done = $4`),
    [after.userId, after.adapterName, after.version, rows],
  );
}

export async function endStanding(session: Session, { schema }: Site): Promise<void> {
  await session.rows(once(`drop table if exists ${schema}.${DOUBTS}, ${schema}.${TABLE}`), []);
}
