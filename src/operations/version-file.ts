/**
 * One version of an adapter as a file: a line with a checksum, a line of JSON, the record. Whole in itself, so that files
 * can be in any order and `tar` may pack and unpack them. The layout is in docs/format.md.
 */
import { createHash } from 'node:crypto';
import { crc32c, decodeRecord } from '../adapter/codec.js';
import type { AdapterRecord } from '../adapter/record.js';
import { parseAdapterName, parseUserId } from '../adapter/user-id.js';
import { AdapterCorruptError, InvalidAdapterError } from '../errors.js';

export interface VersionKey {
  readonly userId: string;
  readonly adapterName: string;
  readonly version: number;
}

export interface StoredVersion extends VersionKey {
  readonly trainingIterations: number;
  /** With microseconds, as Postgres has them: '2025-01-31T12:00:00.123456Z'. */
  readonly createdAt: string;
  readonly updatedAt: string;
  /** The record, exactly as it is stored. */
  readonly bytes: Buffer;
}

export const SUFFIX = '.lora';

/** The largest bytea, and lines before it. */
export const MAX_FILE_BYTES = 2 ** 30 + 4096;

const HEAD = /^lora-store 1 ([0-9a-f]{8})\n/;
const HEAD_BYTES = 'lora-store 1 00000000\n'.length;
/** Year 0 is none to Postgres. */
const TIME = /^(?!0000)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/;
const INT4_MAX = 2 ** 31 - 1;
/** Saves go on behind it: the last number of the column would leave them none. */
const MAX_VERSION = 2_000_000_000;

/** Where the file of a version lies in an archive: 'USER/NAME/VERSION.lora'. */
export function pathOf({ userId, adapterName, version }: VersionKey): string {
  return `${userId}/${folderOf(adapterName)}/${version}${SUFFIX}`;
}

/** The same on every file system: some fold case, some keep names such as 'con' or 'a.', most end at 255 bytes. */
function folderOf(adapterName: string): string {
  const reserved = /^(con|prn|aux|nul|com\d|lpt\d)$/.test(adapterName);
  if (/^[a-z0-9][a-z0-9_-]*$/.test(adapterName) && !reserved) return adapterName;
  return `_${createHash('sha256').update(adapterName).digest('hex')}`;
}

export function packVersion(stored: StoredVersion): Buffer {
  const { userId, adapterName, version, trainingIterations, createdAt, updatedAt, bytes } = stored;
  const facts = { userId, adapterName, version, trainingIterations, createdAt, updatedAt };
  const line = Buffer.from(`${JSON.stringify(facts)}\n`);
  const sum = crc32c(bytes, crc32c(line)).toString(16).padStart(8, '0');
  return Buffer.concat([Buffer.from(`lora-store 1 ${sum}\n`), line, bytes]);
}

/** Inverse of packVersion. Throws AdapterCorruptError unless all of it holds and the file lies where it says it belongs. */
export function unpackVersion(path: string, file: Buffer): StoredVersion {
  const [, sum] = HEAD.exec(file.toString('latin1', 0, HEAD_BYTES)) ?? [];
  if (sum === undefined) throw new AdapterCorruptError('the file does not begin with "lora-store 1"', { where: path });
  const body = file.subarray(HEAD_BYTES);
  if (crc32c(body) !== Number.parseInt(sum, 16)) {
    throw new AdapterCorruptError('the checksum does not match', { where: path });
  }
  const end = body.indexOf(0x0a);
  const stored = { ...factsOf(path, body.toString('utf8', 0, Math.max(0, end))), bytes: body.subarray(end + 1) };
  checkedRecord(stored, path);
  // By its last parts: `tar` may have packed it below another directory.
  if (!`/${path}`.endsWith(`/${pathOf(stored)}`)) {
    throw new AdapterCorruptError(`it belongs at ${pathOf(stored)}`, { where: path });
  }
  return stored;
}

/** The record of these bytes, which must be this user's. Throws AdapterCorruptError. */
export function checkedRecord(stored: { userId: string; bytes: Buffer }, where: string): AdapterRecord {
  const record = decoded(stored.bytes, where);
  if (record.userId === stored.userId) return record;
  throw new AdapterCorruptError('the user id inside the bytes is another one', { where, offset: 8 });
}

function decoded(bytes: Buffer, where: string): AdapterRecord {
  try {
    return decodeRecord(bytes);
  } catch (error) {
    if (!(error instanceof AdapterCorruptError)) throw error;
    const { reason, offset } = error;
    throw new AdapterCorruptError(reason, { where, cause: error, ...(offset === undefined ? {} : { offset }) });
  }
}

/** Whoever writes a checksum that fits can still write nonsense. */
function factsOf(path: string, line: string): Omit<StoredVersion, 'bytes'> {
  try {
    const { userId, adapterName, version, trainingIterations, createdAt, updatedAt } = JSON.parse(line);
    return {
      userId: parseUserId(userId),
      adapterName: parseAdapterName(adapterName),
      version: whole(version, 1, MAX_VERSION),
      trainingIterations: whole(trainingIterations, 0, INT4_MAX),
      createdAt: time(createdAt),
      updatedAt: time(updatedAt),
    };
  } catch (error) {
    if (!(error instanceof InvalidAdapterError || error instanceof SyntaxError || error instanceof TypeError))
      throw error;
    throw new AdapterCorruptError(`its second line: ${error.message}`, { where: path, cause: error });
  }
}

function whole(value: unknown, from: number, to: number): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= from && value <= to) return value;
  throw new TypeError(`a number is not a whole one from ${from} to ${to}`);
}

/** Date.parse makes 2 March of 30 February, which Postgres refuses: a time has to come back as it was. */
function time(value: unknown): string {
  if (typeof value === 'string' && TIME.test(value)) {
    const date = new Date(value);
    if (!Number.isNaN(date.getTime()) && date.toISOString().startsWith(value.slice(0, 23))) return value;
  }
  throw new TypeError('a time is not like 2025-01-31T12:00:00.123456Z');
}
