/**
 * The value under a Redis key: 48 bytes of header, then the bincode record (nothing, for an adapter that is absent).
 * docs/format.md has the table. The checksum also covers the key, so that a value copied under another key is refused.
 */

import { crc32c, decodeHalf, decodeRecord, halve } from '../adapter/codec.js';
import type { AdapterRecord } from '../adapter/record.js';
import type { Key } from '../coherence/key.js';
import { AdapterCorruptError } from '../errors.js';
import type { Entry } from './entry.js';

export const HEADER_BYTES = 48;
/** The last letter is the format: a reader refuses one it does not know. */
const SINGLE_MAGIC = Buffer.from('LRS1');
const HALF_MAGIC = Buffer.from('LRH1');
const TOKEN_MAGIC = Buffer.from('LRT1');

const AT = { checksum: 4, revision: 8, xid: 16, server: 24, updatedAt: 32, version: 40, bodyBytes: 44 } as const;

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
  value.writeUInt32LE(crc32c(value.subarray(HEADER_BYTES), headerChecksum(key, value)), AT.checksum);
  return value;
}

/** The entry in `value`; verifiedAt is unknown to Redis, hence never. Throws AdapterCorruptError. */
export function decodeEntry(key: Key, value: Buffer): Entry {
  if (value.length < HEADER_BYTES) throw new AdapterCorruptError('the Redis entry ends within its header');
  const magic = value.subarray(0, 4);
  const half = magic.equals(HALF_MAGIC);
  if (!half && !magic.equals(SINGLE_MAGIC)) {
    throw new AdapterCorruptError('the Redis entry is of a format that this version does not know', { offset: 0 });
  }
  if (value.readUInt32LE(AT.bodyBytes) !== value.length - HEADER_BYTES) {
    throw new AdapterCorruptError('the Redis entry is not as long as its header says', { offset: AT.bodyBytes });
  }
  const record = readBody(key, value, half);
  if (record && record.userId !== key.userId)
    throw new AdapterCorruptError('the adapter is another user’s', { offset: 8 });
  return {
    record,
    version: value.readUInt32LE(AT.version),
    revision: value.readDoubleLE(AT.revision),
    xid: value.readDoubleLE(AT.xid),
    server: value.readDoubleLE(AT.server),
    updatedAt: value.readDoubleLE(AT.updatedAt),
    verifiedAt: Number.NEGATIVE_INFINITY,
    era: 0,
  };
}

/** The checksum is taken along in the pass that copies the body; an adapter that is absent has none. */
function readBody(key: Key, value: Buffer, half: boolean): AdapterRecord | undefined {
  const checksum = { seed: headerChecksum(key, value), expected: value.readUInt32LE(AT.checksum) };
  if (value.readUInt32LE(AT.version) !== 0) {
    const body = value.subarray(HEADER_BYTES);
    return half ? decodeHalf(body, checksum) : decodeRecord(body, checksum);
  }
  if (value.length === HEADER_BYTES && checksum.seed === checksum.expected) return undefined;
  throw new AdapterCorruptError('the checksum does not match', { offset: AT.checksum });
}

/** Left under a missing key before Postgres is read; a fill succeeds only where it still stands. */
export function fillToken(random: Buffer): Buffer {
  return Buffer.concat([TOKEN_MAGIC, random]);
}

export function isFillToken(value: Buffer): boolean {
  return value.length < HEADER_BYTES && value.subarray(0, TOKEN_MAGIC.length).equals(TOKEN_MAGIC);
}

/** Of the key and of the header behind the checksum; the body continues it. */
function headerChecksum(key: Key, value: Buffer): number {
  return crc32c(value.subarray(AT.revision, HEADER_BYTES), crc32c(Buffer.from(key.id)));
}
