/**
 * Reads what is stored as a load would, all of it: each row decoded, with its checksum and whose it is, and each head
 * against the rows it speaks of. Page after page along the index, so that it holds no lock and no snapshot, and the same few
 * megabytes whatever the table's size; what is written meanwhile is seen as it was before or as it is after.
 */

import { keyOf } from '../coherence/key.js';
import type { AdapterCorruptError } from '../errors.js';
import { Pace } from '../storage/pace.js';
import { checked } from '../tiers/row.js';
import type { BodyColumn } from '../tiers/statements.js';
import { batches } from './batches.js';
import { BODIES, ESTIMATED_ROWS, HEADS_A_PAGE, NEXT_HEADS, NEXT_ROWS } from './statements/whole-tables.js';
import type { Tables } from './tables.js';

/** Something that is not as it must be. */
export interface Finding {
  readonly userId: string;
  readonly adapterName: string;
  /** Of the row; absent where it is the head. */
  readonly version?: number;
  readonly reason: string;
}

export interface VerifyOptions {
  /** Of this user alone. */
  readonly userId?: string | undefined;
  /** Ends after so many findings. */
  readonly limit: number;
  /** The share of bodies that are read, chosen at random. Keys and heads are looked at in any case. Default 1. */
  readonly sample?: number | undefined;
  /** The most rows and heads a second. */
  readonly perSecond?: number | undefined;
  readonly signal?: AbortSignal;
  /** of: the rows there are, as the planner believes; 0: unknown. */
  readonly onProgress?: (done: number, of: number) => void;
}

export class Verification {
  /** Rows whose body was read. */
  rows = 0;
  /** Rows among these that their writer gave no checksum. */
  withoutChecksum = 0;
  heads = 0;
  readonly findings: Finding[] = [];
  /** False: it ended early, by a signal, an error, or having found enough. */
  complete = false;
}

type RowKey = [userId: string, adapterName: string, version: number, bytes: number, sizeBytes: number, headed: boolean];

const FIRST_USER = '00000000-0000-0000-0000-000000000000';
const LAST_USER = 'ffffffff-ffff-ffff-ffff-ffffffffffff';
/** Before the first version an integer column can hold, but for that one. */
const BEFORE_ALL = -(2 ** 31);

/** Fills `result` as it goes: after an error it has what was found until then. */
export async function verify(tables: Tables, options: VerifyOptions, result: Verification): Promise<void> {
  const pace = new Pace(options.perSecond);
  const enough = () => result.findings.length >= options.limit;
  await verifyRows(tables, options, result, pace, enough);
  if (!enough()) await verifyHeads(tables, options, result, pace, enough);
  result.findings.splice(options.limit);
  result.complete = !enough();
}

async function verifyRows(
  tables: Tables,
  { userId, sample = 1, signal, onProgress }: VerifyOptions,
  result: Verification,
  pace: Pace,
  enough: () => boolean,
): Promise<void> {
  const [estimate] = userId === undefined ? await tables.rows<[number]>(ESTIMATED_ROWS, []) : [];
  const of = Math.max(0, estimate?.[0] ?? 0);
  let after: readonly [string, string, number] = [userId ?? FIRST_USER, '', BEFORE_ALL];
  for (let passed = 0; ; ) {
    signal?.throwIfAborted();
    const all = await tables.rows<RowKey>(NEXT_ROWS, after);
    const page = userId === undefined ? all : all.filter(([owner]) => owner === userId);
    const last = page.at(-1);
    if (last === undefined) return;
    const chosen = sample >= 1 ? page : page.filter(() => Math.random() < sample);
    for (const batch of batches(chosen, ([, , , bytes]) => bytes, pace.burst)) {
      await pace.admit(batch.length, signal);
      await verifyBodies(tables, batch, result);
      if (enough()) return;
      onProgress?.(passed + 1 + page.indexOf(batch.at(-1) as RowKey), of);
    }
    for (const row of page) result.findings.push(...faultsBeside(row));
    if (enough()) return;
    passed += page.length;
    onProgress?.(passed, of);
    after = [last[0], last[1], last[2]];
  }
}

async function verifyBodies(tables: Tables, batch: readonly RowKey[], result: Verification): Promise<void> {
  type Row = [userId: string, adapterName: string, version: number, body: BodyColumn, checksum: number | null];
  const column = (place: 0 | 1 | 2) => batch.map((row) => row[place]);
  for (const row of await tables.rows<Row>(BODIES, [column(0), column(1), column(2)])) {
    const [userId, adapterName, version, body, checksum] = row;
    const record = checked(keyOf(userId, adapterName), version, body, checksum);
    result.rows++;
    if (checksum === null) result.withoutChecksum++;
    if (record instanceof Error) result.findings.push({ userId, adapterName, version, reason: reasonOf(record) });
  }
}

/** What shows without the body. */
function faultsBeside([userId, adapterName, version, bytes, sizeBytes, headed]: RowKey): Finding[] {
  const faults: Finding[] = [];
  const fault = (reason: string) => faults.push({ userId, adapterName, version, reason });
  if (bytes !== sizeBytes) fault(`size_bytes is ${sizeBytes}, and the record has ${bytes} bytes`);
  if (!headed) fault('it has no head, so that no load finds it');
  return faults;
}

async function verifyHeads(
  tables: Tables,
  { userId, signal }: VerifyOptions,
  result: Verification,
  pace: Pace,
  enough: () => boolean,
): Promise<void> {
  type Row = [userId: string, adapterName: string, last: number, latest: number | null, newest: number | null];
  // The key itself is part of the page that begins with it: no name comes before '', which a row of another writer's may have.
  let next: readonly [string, string] | undefined = [userId ?? FIRST_USER, ''];
  while (next !== undefined) {
    signal?.throwIfAborted();
    const page: Row[] = await tables.rows<Row>(NEXT_HEADS, [...next, userId ?? LAST_USER]);
    const behind = page.length > HEADS_A_PAGE ? page.pop() : undefined;
    for (const [owner, adapterName, last, latest, newest] of page) {
      const reason = headFault(last, latest, newest);
      if (reason !== undefined) result.findings.push({ userId: owner, adapterName, reason });
    }
    result.heads += page.length;
    if (enough()) return;
    next = behind && [behind[0], behind[1]];
    await pace.admit(page.length, signal);
  }
}

function headFault(last: number, latest: number | null, newest: number | null): string | undefined {
  const named = (version: number | null) => (version === null ? 'none' : `version ${version}`);
  if (latest !== newest) return `its head names ${named(latest)} as the latest, and the newest row is ${named(newest)}`;
  if (newest !== null && last < newest)
    return `its head gave ${last} as the last number, and there is version ${newest}`;
  return undefined;
}

function reasonOf({ reason, offset }: AdapterCorruptError): string {
  return offset === undefined ? reason : `${reason} (at byte ${offset})`;
}
