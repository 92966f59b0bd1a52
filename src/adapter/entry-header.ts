/**
 * The 48 bytes before the body of a Redis entry: where each field lies, and the readable reference of native/entry.cc, which
 * reads them. docs/format.md has the table. The checksum also covers the key, so that a value copied under another key is
 * refused.
 */
import { Corruption, corruptError } from './corruption.js';
import { crc32cPortable } from './crc32c.js';
import type { Checksum } from './record.js';

export const HEADER_BYTES = 48;
/** The last letter is the format: a reader refuses one it does not know. */
export const SINGLE_MAGIC = Buffer.from('LRS1');
export const HALF_MAGIC = Buffer.from('LRH1');

export const AT = { checksum: 4, revision: 8, xid: 16, server: 24, updatedAt: 32, version: 40, bodyBytes: 44 } as const;

export interface EntryHeader {
  readonly revision: number;
  readonly xid: number;
  readonly server: number;
  readonly updatedAt: number;
  /** 0: the adapter is absent, and no body follows. */
  readonly version: number;
  /** Whether the body is in half precision. */
  readonly half: boolean;
  /** What the body continues, and must come to. */
  readonly checksum: Checksum;
}

/** Throws AdapterCorruptError, its offset that of the entry. Of an absent adapter the checksum has been verified. */
export function readEntryHeader(bytes: Uint8Array, key: string): EntryHeader {
  const value = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (value.length < HEADER_BYTES) throw corruptError(bytes, Corruption.entryTruncated, value.length);
  const magic = value.subarray(0, SINGLE_MAGIC.length);
  const half = magic.equals(HALF_MAGIC);
  if (!half && !magic.equals(SINGLE_MAGIC)) throw corruptError(bytes, Corruption.entryFormat, 0);
  const bodyBytes = value.length - HEADER_BYTES;
  const version = value.readUInt32LE(AT.version);
  if (value.readUInt32LE(AT.bodyBytes) !== bodyBytes) throw corruptError(bytes, Corruption.entryLength, AT.bodyBytes);

  const seed = crc32cPortable(value.subarray(AT.revision, HEADER_BYTES), crc32cPortable(Buffer.from(key)));
  const checksum = { seed, expected: value.readUInt32LE(AT.checksum) };
  if (version === 0) {
    if (bodyBytes !== 0) throw corruptError(bytes, Corruption.entryLength, AT.bodyBytes);
    if (checksum.seed !== checksum.expected) throw corruptError(bytes, Corruption.checksum, AT.checksum);
  }
  return {
    revision: value.readDoubleLE(AT.revision),
    xid: value.readDoubleLE(AT.xid),
    server: value.readDoubleLE(AT.server),
    updatedAt: value.readDoubleLE(AT.updatedAt),
    version,
    half,
    checksum,
  };
}
