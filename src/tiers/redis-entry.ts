/**
 * The value under a Redis key: 48 bytes of header (src/adapter/entry-header.ts), then the bincode record (nothing, for an
 * adapter that is absent).
 */

import { adoptRecord, crc32c, decodeHalf, halve, readEntryHeader } from '../adapter/codec.js';
import { AT, HALF_MAGIC, HEADER_BYTES, SINGLE_MAGIC } from '../adapter/entry-header.js';
import type { AdapterRecord, Checksum } from '../adapter/record.js';
import type { Key } from '../coherence/key.js';
import { AdapterCorruptError } from '../errors.js';
import type { Entry } from './entry.js';

export { HEADER_BYTES } from '../adapter/entry-header.js';

/** What lies around the body of a reply that is alone in its memory, of 10 to 97 KB. Not a byte more: another reply is somebody's. */
const MOST_BESIDE = '$41100\r\n'.length + HEADER_BYTES + '\r\n'.length;

const TOKEN_MAGIC = Buffer.from('LRT1');

/** 'f16': the body in half precision, where every weight fits into it. */
export type RedisEncoding = 'f32' | 'f16';

/** Header and body in one buffer, as SET takes it. A record that was rounded once stays so, whatever is asked for. */
export function encodeEntry(key: Key, entry: Entry, encoding: RedisEncoding = 'f32'): Buffer {
  const { record } = entry;
  const half = record && (record.rounded || encoding === 'f16') ? halve(record) : undefined;
  const body = half ?? record?.bytes;
  const value = Buffer.allocUnsafe(HEADER_BYTES + (body?.length ?? 0));
  (half === undefined ? SINGLE_MAGIC : HALF_MAGIC).copy(value, 0);
  value.writeDoubleLE(entry.revision, AT.revision);
  value.writeDoubleLE(entry.xid, AT.xid);
  value.writeDoubleLE(entry.server, AT.server);
  value.writeDoubleLE(entry.updatedAt, AT.updatedAt);
  value.writeUInt32LE(entry.version, AT.version);
  value.writeUInt32LE(body?.length ?? 0, AT.bodyBytes);
  body?.copy(value, HEADER_BYTES);
  value.writeUInt32LE(crc32c(value.subarray(AT.revision), crc32c(Buffer.from(key.id))), AT.checksum);
  return value;
}

/**
 * The entry in `value`, which becomes part of it: nobody may write there any more. verifiedAt is unknown to Redis, hence
 * never. Throws AdapterCorruptError.
 */
export function decodeEntry(key: Key, value: Buffer): Entry {
  const { version, revision, xid, server, updatedAt, half, checksum } = readEntryHeader(value, key.id);
  const record = version === 0 ? undefined : decodeBody(value.subarray(HEADER_BYTES), checksum, half);
  if (record && record.userId !== key.userId)
    throw new AdapterCorruptError('the adapter is another user’s', { offset: 8 });
  return { record, version, revision, xid, server, updatedAt, verifiedAt: Number.NEGATIVE_INFINITY, era: 0 };
}

function decodeBody(body: Buffer, checksum: Checksum, half: boolean): AdapterRecord {
  return half ? decodeHalf(body, checksum) : adoptRecord(body, MOST_BESIDE, checksum);
}

/** Left under a missing key before Postgres is read; a fill succeeds only where it still stands. */
export function fillToken(random: Buffer): Buffer {
  return Buffer.concat([TOKEN_MAGIC, random]);
}

export function isFillToken(value: Buffer): boolean {
  return value.length < HEADER_BYTES && value.subarray(0, TOKEN_MAGIC.length).equals(TOKEN_MAGIC);
}
