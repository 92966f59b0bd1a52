/**
 * All stored versions in the order of their keys, some megabytes at a time: each page is one short statement, so that no
 * transaction and no memory grows with the table. What is written meanwhile may or may not be in it.
 */
import { crc32c } from '../adapter/codec.js';
import { AdapterCorruptError } from '../errors.js';
import { VERSIONS_AFTER } from './statements/archives.js';
import type { Tables } from './tables.js';
import { packVersion, pathOf, type StoredVersion, unpackVersion, type VersionKey } from './version-file.js';

const PAGE_KEYS = 1000;
/** Of weights; a page holds one version at least. */
const PAGE_BYTES = 4 * 1024 * 1024;
const FIRST_USER = '00000000-0000-0000-0000-000000000000';
const LAST_USER = 'ffffffff-ffff-ffff-ffff-ffffffffffff';
const BEFORE_ALL = -(2 ** 31);

export interface Selection {
  /** Of this user only. */
  readonly userId?: string;
  readonly adapterName?: string;
  /** The latest version of each adapter only. */
  readonly latestOnly?: boolean;
}

export interface Page {
  readonly versions: StoredVersion[];
  /** Rows whose bytes are no adapter of that user, or not what was saved, or that no import would take. */
  readonly faults: AdapterCorruptError[];
  /** Each row that was read, as it was: mark is another one once the row was written to. */
  readonly rows: { readonly key: VersionKey; readonly mark: string }[];
  readonly last: VersionKey;
}

type Row = [
  mark: string,
  userId: string,
  adapterName: string,
  version: number,
  bytes: Buffer | null,
  checksum: number | null,
  trainingIterations: number,
  createdAt: string,
  updatedAt: string,
];

/** after: the last key of an earlier page. */
export async function* pagesOf(tables: Tables, selection: Selection, after?: VersionKey): AsyncGenerator<Page> {
  const { userId, adapterName = null, latestOnly = false } = selection;
  const before = { userId: userId ?? FIRST_USER, adapterName: '', version: BEFORE_ALL };
  const limits = [userId ?? LAST_USER, adapterName, latestOnly, PAGE_KEYS, PAGE_BYTES];
  for (let at: VersionKey = after ?? before; ; ) {
    const rows = await tables.rows<Row>(VERSIONS_AFTER, [at.userId, at.adapterName, at.version, ...limits]);
    const page = pageOf(rows);
    if (page === undefined) return;
    yield page;
    at = page.last;
  }
}

function pageOf(rows: readonly Row[]): Page | undefined {
  const last = rows.at(-1);
  if (last === undefined) return undefined;
  const [, userId, adapterName, version] = last;
  const page: Page = { versions: [], faults: [], rows: [], last: { userId, adapterName, version } };
  for (const row of rows) {
    const [mark, userId, adapterName, version, bytes] = row;
    if (bytes === null) continue;
    page.rows.push({ key: { userId, adapterName, version }, mark });
    const stored = checkedRow(row, bytes);
    if (stored instanceof AdapterCorruptError) page.faults.push(stored);
    else page.versions.push(stored);
  }
  return page;
}

function checkedRow(row: Row, bytes: Buffer): StoredVersion | AdapterCorruptError {
  const [, userId, adapterName, version, , checksum, trainingIterations, createdAt, updatedAt] = row;
  const stored = { userId, adapterName, version, trainingIterations, createdAt, updatedAt, bytes };
  const where = `'${adapterName}' version ${version} of user ${userId}`;
  if (checksum !== null && crc32c(bytes) !== checksum) {
    return new AdapterCorruptError('the checksum does not match', { where });
  }
  try {
    // As the reader will: what it would refuse is told now, while the row is still there.
    unpackVersion(pathOf(stored), packVersion(stored));
    return stored;
  } catch (error) {
    if (!(error instanceof AdapterCorruptError)) throw error;
    const { reason, offset } = error;
    return new AdapterCorruptError(reason, { where, cause: error, ...(offset === undefined ? {} : { offset }) });
  }
}
