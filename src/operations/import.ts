/**
 * Import: versions come back under their numbers. One that is there already is left alone: equal, it counts as done, so that
 * an import can be repeated and gone on with; other bytes are a conflict. Only what this very run inserted, or found to be an
 * earlier copy, gives way to a later one: an archive that was gone on with may hold a version twice, and was written to in
 * between. Small transactions; the triggers make the heads true, and tell every node.
 */
import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { LRUCache } from 'lru-cache';
import { crc32c } from '../adapter/codec.js';
import type { Session } from '../postgres/database.js';
import { retrying } from './retrying.js';
import * as sql from './statements/archives.js';
import type { Tables } from './tables.js';
import type { StoredVersion, VersionKey } from './version-file.js';

/** Of a transaction, so that none holds its locks for long; a version larger than that is one of its own. */
const BATCH_VERSIONS = 100;
const BATCH_BYTES = 4 * 1024 * 1024;
/** Rows that were there as an archive has them, for when it has them again: as a rule within a thousand. */
const MAX_REMEMBERED = 100_000;

/** replaced: a later copy took the place of the one that was imported. */
export type Fate = 'imported' | 'unchanged' | 'replaced' | 'conflict' | 'no user';

export interface ImportOptions {
  /** Insert users that have no row. */
  readonly createUsers: boolean;
}

/** Writes all of `versions`, a batch at a time, and says what became of each, once that is committed. */
export async function importVersions(
  tables: Tables,
  versions: AsyncIterable<StoredVersion>,
  options: ImportOptions,
  report: (version: StoredVersion, fate: Fate) => void,
  signal: AbortSignal,
): Promise<void> {
  let batch: StoredVersion[] = [];
  let bytes = 0;
  const earlier: Earlier = { imported: new Set(), found: new LRUCache({ max: MAX_REMEMBERED }) };
  const write = async () => {
    const { fates, transaction } = await retrying(tables, (session) => writeOnce(session, batch, earlier, options));
    if (transaction !== undefined) earlier.imported.add(transaction);
    for (const version of batch) report(version, fates.get(idOf(version)) as Fate);
    batch = [];
    bytes = 0;
    signal.throwIfAborted();
  };
  for await (const version of versions) {
    // The same one twice in one statement would be a conflict with itself.
    if (batch.some((other) => idOf(other) === idOf(version))) await write();
    batch.push(version);
    bytes += version.bytes.length;
    if (batch.length >= BATCH_VERSIONS || bytes >= BATCH_BYTES) await write();
  }
  signal.throwIfAborted();
  if (batch.length > 0) await write();
}

/** Copies that this run has come by. A row that the transaction named here wrote was not written to since. */
interface Earlier {
  /** Transactions of this run, one a batch. */
  readonly imported: Set<string>;
  /** Rows that were there, exactly as the archive has them: who wrote each. */
  readonly found: LRUCache<string, string>;
}

interface Written {
  readonly fates: Map<string, Fate>;
  /** Which inserted what was inserted. */
  transaction?: string;
}

async function writeOnce(
  session: Session,
  batch: StoredVersion[],
  earlier: Earlier,
  options: ImportOptions,
): Promise<Written> {
  const written: Written = { fates: new Map() };
  const { fates } = written;
  const users = [...new Set(batch.map(({ userId }) => userId))];
  if (options.createUsers) await session.rows(sql.CREATE_USERS, [users]);
  const there = new Set((await session.rows<[string]>(sql.LOCK_USERS, [users])).map(([id]) => id));
  for (const version of batch) if (!there.has(version.userId)) fates.set(idOf(version), 'no user');

  const rest = () => batch.filter((version) => !fates.has(idOf(version)));
  const replaced = await compare(session, rest(), fates, earlier);
  for (const { userId, adapterName, version } of replaced.sort(byKey)) {
    await session.rows(sql.DELETE_USER_VERSIONS, [userId, [adapterName], [version]]);
  }
  // In the order of their keys, in which everybody takes the heads.
  for (const version of rest().sort(byKey)) {
    const [row] = await session.rows<[transaction: string]>(sql.INSERT_VERSION, valuesOf(version));
    if (row === undefined) continue;
    [written.transaction] = row;
    fates.set(idOf(version), replaced.includes(version) ? 'replaced' : 'imported');
  }
  // What a saver inserted since the first look: it has committed, and is seen now.
  await compare(session, rest(), fates);
  if (rest().length === 0) return written;
  // Inserted and deleted again, between two looks.
  throw new Error('other writers are changing the same versions: import again');
}

/** Resolves with those that an earlier copy gives way to; of the others that are there it says the fate. */
async function compare(
  session: Session,
  batch: readonly StoredVersion[],
  fates: Map<string, Fate>,
  earlier?: Earlier,
): Promise<StoredVersion[]> {
  if (batch.length === 0) return [];
  type Facts = [trainingIterations: number, createdAt: string, updatedAt: string];
  type Row = [userId: string, name: string, version: number, transaction: string, digest: Buffer, ...Facts];
  const rows = await session.rows<Row>(sql.LOCK_VERSIONS, keysOf(batch));
  const there = new Map(
    rows.map(([userId, adapterName, version, ...row]) => [idOf({ userId, adapterName, version }), row]),
  );
  return batch.filter((version) => {
    const id = idOf(version);
    const row = there.get(id);
    if (row === undefined) return false;
    const [transaction, digest, ...facts] = row;
    const equal = createHash('sha256').update(version.bytes).digest().equals(digest);
    const { trainingIterations, createdAt, updatedAt } = version;
    const alike = equal && isDeepStrictEqual(facts, [trainingIterations, createdAt, updatedAt]);
    if (alike) earlier?.found.set(id, transaction);
    else if (earlier?.imported.has(transaction)) return true;
    // A later state of that very row: an import ended between the two.
    else if (earlier?.found.get(id) === transaction && facts[1] === createdAt && facts[2] < updatedAt) return true;
    fates.set(id, equal ? 'unchanged' : 'conflict');
    return false;
  });
}

function keysOf(batch: readonly StoredVersion[]): [string[], string[], number[]] {
  return [
    batch.map(({ userId }) => userId),
    batch.map(({ adapterName }) => adapterName),
    batch.map(({ version }) => version),
  ];
}

function valuesOf(version: StoredVersion): unknown[] {
  const { userId, adapterName, bytes, trainingIterations, createdAt, updatedAt } = version;
  return [userId, adapterName, version.version, bytes, crc32c(bytes), trainingIterations, createdAt, updatedAt];
}

function byKey(a: VersionKey, b: VersionKey): number {
  if (a.userId !== b.userId) return a.userId < b.userId ? -1 : 1;
  if (a.adapterName !== b.adapterName) return a.adapterName < b.adapterName ? -1 : 1;
  return a.version - b.version;
}

function idOf({ userId, adapterName, version }: VersionKey): string {
  return `${userId}/${version}/${adapterName}`;
}
