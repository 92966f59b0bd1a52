/**
 * Archive: users none of whose adapters was saved for long move into an archive. A user's rows are deleted only after all of
 * them were read back from the disk, and only if each is still the row that was read: who comes back meanwhile keeps all,
 * and a death at any point leaves every version in the archive, in the table, or in both.
 */
import { Readable } from 'node:stream';
import { LOCK_OWNER_ALONE } from '../tiers/statements.js';
import { type Page, pagesOf } from './pages.js';
import { retrying } from './retrying.js';
import { filesOfTar } from './sources.js';
import { DELETE_USER_VERSIONS, LOCK_USER_BODIES, TIME_BEFORE, USERS_SINCE } from './statements/archives.js';
import type { Tables } from './tables.js';
import type { TarTarget } from './tar-target.js';
import { type StoredVersion, unpackVersion } from './version-file.js';

const PAGE_USERS = 1000;
const FIRST_USER = '00000000-0000-0000-0000-000000000000';
/** Of a piece of the archive, after which its users are deleted. A user with more takes several. */
const PIECE_BYTES = 4 * 1024 * 1024;
const PIECE_VERSIONS = 1000;

export interface ArchiveReport {
  /** So many versions are in the archive. */
  progress(versions: number): void;
  /** A user who stays, because a row of theirs is bad. */
  fault(userId: string, error: Error): void;
  /** A user who is left alone, because something of theirs was written or deleted since it was read: the archive holds that. */
  returned(userId: string): void;
}

export interface Archived {
  /** Who moved. */
  users: number;
  /** Who was saved to or deleted from meanwhile, and is left alone. */
  returned: number;
  /** Who has a bad row, and stays. */
  faulty: number;
}

type Rows = Page['rows'];

/** inactiveSeconds: how long ago the last save was. Aborted: it ends behind a user, and can be gone on with. */
export async function archiveInactive(
  tables: Tables,
  inactiveSeconds: number,
  target: TarTarget,
  report: ArchiveReport,
  signal: AbortSignal,
): Promise<Archived> {
  const archived: Archived = { users: 0, returned: 0, faulty: 0 };
  let unwritten: StoredVersion[] = [];
  let whole: { userId: string; rows: Rows }[] = [];

  const write = async () => {
    if (unwritten.length > 0) await target.write(unwritten, undefined, (piece) => verifyPiece(piece, unwritten));
    unwritten = [];
    report.progress(target.versions);
  };
  const move = async () => {
    await write();
    for (const { userId, rows } of whole) {
      const fate = await deleteUnchanged(tables, userId, rows);
      archived[fate]++;
      if (fate === 'returned') report.returned(userId);
      signal.throwIfAborted();
    }
    whole = [];
  };

  for await (const userId of inactiveUsers(tables, inactiveSeconds, signal)) {
    const rows: Rows = [];
    const before = unwritten.length;
    let fault: Error | undefined;
    for await (const page of pagesOf(tables, { userId })) {
      [fault] = page.faults;
      if (fault !== undefined) break;
      unwritten.push(...page.versions);
      rows.push(...page.rows);
      if (isPiece(unwritten)) await write();
    }
    if (fault === undefined) {
      whole.push({ userId, rows });
    } else {
      // What is written of them already stays in the archive, where it does no harm.
      unwritten.length = Math.min(unwritten.length, before);
      archived.faulty++;
      report.fault(userId, fault);
    }
    if (unwritten.length === 0 || isPiece(unwritten) || whole.length >= PIECE_VERSIONS) await move();
  }
  await move();
  return archived;
}

function isPiece(versions: readonly StoredVersion[]): boolean {
  const bytes = versions.reduce((sum, version) => sum + version.bytes.length, 0);
  return versions.length >= PIECE_VERSIONS || bytes >= PIECE_BYTES;
}

async function* inactiveUsers(tables: Tables, inactiveSeconds: number, signal: AbortSignal): AsyncGenerator<string> {
  const [[since] = [0]] = await tables.rows<[number]>(TIME_BEFORE, [inactiveSeconds]);
  // The user itself is part of the page that begins with it: no id comes before the nil UUID, which may be a user's.
  for (let next: string | undefined = FIRST_USER; next !== undefined; ) {
    type Row = [userId: string, inactive: boolean | null];
    const users: Row[] = await tables.rows<Row>(USERS_SINCE, [next, new Date(since), PAGE_USERS + 1]);
    signal.throwIfAborted();
    next = users.length > PAGE_USERS ? users.pop()?.[0] : undefined;
    for (const [userId, inactive] of users) if (inactive) yield userId;
  }
}

/** Throws unless these bytes, as they came back from the disk, are an archive of exactly these versions. */
export async function verifyPiece(piece: Buffer, versions: readonly StoredVersion[]): Promise<void> {
  let read = 0;
  for await (const { path, bytes } of filesOfTar(Readable.from([piece], { objectMode: false }))) {
    const back = unpackVersion(path, bytes ?? Buffer.alloc(0));
    const written = versions[read++];
    const equal = written && sameFacts(back, written) && back.bytes.equals(written.bytes);
    if (!equal) throw new Error(`the archive does not give back ${path} as it was written; nothing of it was deleted`);
  }
  if (read !== versions.length)
    throw new Error('the archive does not give back all that was written; nothing of it was deleted');
}

function sameFacts(one: StoredVersion, other: StoredVersion): boolean {
  return JSON.stringify({ ...one, bytes: 0 }) === JSON.stringify({ ...other, bytes: 0 });
}

/**
 * Deletes what it has locked, and only if each is, to the transaction that wrote it, among `rows`. Where there is no foreign key,
 * or the user has no row, nothing keeps others from saving to this user meanwhile: what they save is not among these.
 */
async function deleteUnchanged(tables: Tables, userId: string, rows: Rows): Promise<'users' | 'returned'> {
  const archived = new Map(rows.map(({ key, mark }) => [nameOf(key.adapterName, key.version), mark]));
  return await retrying(tables, async (session) => {
    await session.rows(LOCK_OWNER_ALONE, [userId]);
    type Row = [adapterName: string, version: number, mark: string];
    const there = await session.rows<Row>(LOCK_USER_BODIES, [userId]);
    const same = there.every(([name, version, mark]) => archived.get(nameOf(name, version)) === mark);
    if (!same || there.length !== rows.length) return 'returned';
    const keys = [there.map(([name]) => name), there.map(([, version]) => version)];
    const deleted = await session.rows(DELETE_USER_VERSIONS, [userId, ...keys]);
    if (deleted.length === there.length) return 'users';
    // A trigger or a rule of the owner's.
    throw new Error(`only ${deleted.length} of ${there.length} versions of user ${userId} were deleted: none is, then`);
  });
}

function nameOf(adapterName: string, version: number): string {
  return `${version}/${adapterName}`;
}
