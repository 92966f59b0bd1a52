/** One version as it lies in Postgres, sound or not: a load would only say that it is damaged. */
import { crc32c, decodeRecord } from '../adapter/codec.js';
import type { AdapterRecord } from '../adapter/record.js';
import { parseAdapterName, parseUserId } from '../adapter/user-id.js';
import { AdapterCorruptError, AdapterNotFoundError } from '../errors.js';
import { STORED_VERSION } from './statements/overview.js';
import type { Tables } from './tables.js';

/** none: whoever wrote the row computed none. */
export type ChecksumState = 'right' | 'wrong' | 'none';

export interface StoredVersion {
  readonly userId: string;
  readonly adapterName: string;
  readonly version: number;
  /** 0: the head names none, or there is no head. */
  readonly latestVersion: number;
  readonly revision: number;
  readonly sizeBytes: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  readonly checksum: ChecksumState;
  /** Absent where the bytes are no adapter. */
  readonly record?: AdapterRecord;
  /** Why a load refuses it. */
  readonly fault?: string;
}

type Row = [
  latestVersion: number | null,
  revision: number | null,
  version: number | null,
  bytes: Buffer,
  checksum: number | null,
  createdAt: number,
  updatedAt: number,
];

/** version: undefined for the latest. Throws AdapterNotFoundError, and InvalidAdapterError on names that cannot be. */
export async function storedVersion(
  tables: Tables,
  user: string,
  name: string,
  asked: number | undefined,
): Promise<StoredVersion> {
  const [userId, adapterName] = [parseUserId(user), parseAdapterName(name)];
  const [row] = await tables.rows<Row>(STORED_VERSION, [userId, adapterName, asked ?? null]);
  const [latestVersion, revision, version, bytes, expected, createdAt, updatedAt] = row as Row;
  if (version === null) throw new AdapterNotFoundError(userId, adapterName, asked ?? latestVersion ?? undefined);
  const checksum = expected === null ? 'none' : crc32c(bytes) === expected ? 'right' : 'wrong';
  return {
    userId,
    adapterName,
    version,
    latestVersion: latestVersion ?? 0,
    revision: revision ?? 0,
    sizeBytes: bytes.length,
    createdAt: new Date(createdAt),
    updatedAt: new Date(updatedAt),
    checksum,
    ...examine(bytes, userId, checksum),
  };
}

function examine(bytes: Buffer, userId: string, checksum: ChecksumState): Pick<StoredVersion, 'record' | 'fault'> {
  try {
    const record = decodeRecord(bytes);
    if (record.userId !== userId) return { record, fault: `the bytes are an adapter of user ${record.userId}` };
    return checksum === 'wrong' ? { record, fault: 'the checksum does not match' } : { record };
  } catch (error) {
    if (!(error instanceof AdapterCorruptError)) throw error;
    const at = error.offset === undefined ? '' : ` (at byte ${error.offset})`;
    return { fault: `${error.reason}${at}` };
  }
}
