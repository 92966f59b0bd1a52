/** What Redis may hold under a key: entries of docs/format.md, put together from any body, and seeded accidents to them. */
import { HALF_MAGIC, HEADER_BYTES, SINGLE_MAGIC } from '../../src/adapter/entry-header.js';
import type { Codec } from '../../src/adapter/record.js';
import { integerBelow } from './adapters.js';

type Random = () => number;

export interface OddEntry {
  key: string;
  bytes: Buffer;
}

const KEYS = ['', 'k', '00000000-0000-4000-8000-000000000001/default', `ключ/${'é'.repeat(99)}`, '\ud83d\ude00/\ud83d'];
const MAGICS = [SINGLE_MAGIC, HALF_MAGIC, Buffer.from('LRS2'), Buffer.from('LRT1')];
const [CHECKSUM_AT, VERSION_AT, BODY_BYTES_AT] = [4, 40, 44];

/** Three in five are whole; of the others one byte is another, or they end too early or too late. */
export function oddEntry(bodies: readonly Buffer[], crc32c: Codec['crc32c'], random: Random): OddEntry {
  const below = (limit: number) => integerBelow(random, limit);
  const key = KEYS[below(KEYS.length)] as string;
  const absent = random() < 0.3;
  const body = absent ? Buffer.alloc(0) : (bodies[below(bodies.length)] as Buffer);
  const header = Buffer.from(Array.from({ length: HEADER_BYTES }, () => below(256)));
  MAGICS[random() < 0.9 ? below(2) : below(MAGICS.length)]?.copy(header);
  header.writeUInt32LE(absent ? 0 : 1 + below(2 ** 32 - 1), VERSION_AT);
  header.writeUInt32LE(body.length, BODY_BYTES_AT);
  const bytes = Buffer.concat([header, body]);
  bytes.writeUInt32LE(crc32c(bytes.subarray(8), crc32c(Buffer.from(key), 0)), CHECKSUM_AT);

  const accident = random();
  if (accident < 0.2) bytes.writeUInt8(below(256), below(HEADER_BYTES));
  else if (accident < 0.3) return { key, bytes: bytes.subarray(0, below(bytes.length)) };
  else if (accident < 0.35) return { key, bytes: Buffer.concat([bytes, header.subarray(0, 1 + below(8))]) };
  else if (accident < 0.4)
    return { key, bytes: absent ? Buffer.concat([sized(header, 8), header.subarray(8, 16)]) : bytes };
  return { key, bytes };
}

/** A header that says so of the body behind it. */
function sized(header: Buffer, bodyBytes: number): Buffer {
  const copy = Buffer.from(header);
  copy.writeUInt32LE(bodyBytes, BODY_BYTES_AT);
  return copy;
}
