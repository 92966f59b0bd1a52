/** Portable and native answer alike whatever the bytes: tens of thousands of seeded accidents, each a case of its own. */
import { expect, test } from 'vitest';
import type { Codec } from '../../src/adapter/record.js';
import {
  bytesOf,
  codecs,
  fieldsOf,
  goldenBytes,
  goldenRecords,
  integerBelow,
  refusal,
  seeded,
  u64,
  varintBytesOf,
} from '../support/adapters.js';

const [[, portable], [, native]] = codecs as [[string, Codec], [string, Codec]];
const CASES = 40_000;

test('they agree on every damaged record, and between the records occurs every reason there is', () => {
  const random = seeded(20261123);
  const originals = [
    ...Array.from({ length: 20 }, (_, i) => bytesOf(fieldsOf(1 + (i % 4), 1 + (i % 7), 1 + (i % 5), i))),
    ...Array.from({ length: 3 }, (_, i) => varintBytesOf(fieldsOf(1 + i, 2, 3, i))),
    ...goldenRecords.filter(({ bytes }) => bytes < 1000).map(({ file }) => goldenBytes(file)),
  ];
  const reasons = new Set<string>();
  for (let i = 0; i < CASES; i++) {
    const bytes = damaged(originals[integerBelow(random, originals.length)] as Buffer, random);
    const [expected, actual] = [outcome(portable, bytes), outcome(native, bytes)];
    // Not through expect(): forty thousand deep comparisons would take most of the time.
    if (actual !== expected) expect.fail(`case ${i}: ${expected}, ${actual} for ${bytes.toString('hex')}`);
    reasons.add(expected.replace(/^record .*/s, 'record').replace(/ at \d+$/, ''));
  }
  // Eleven codes, the varints, and records that survived.
  expect([...reasons].sort()).toHaveLength(13);
});

/** Everything that the codec answers, in one string. */
function outcome(codec: Codec, bytes: Buffer): string {
  const refused = refusal(codec, bytes);
  if (refused !== undefined) return `${refused.reason} at ${refused.offset}`;
  const { bytes: copy, base, user, ...facts } = codec.decode(bytes);
  return `record ${JSON.stringify(facts)} ${base} ${user} ${copy.equals(bytes)}`;
}

const INTERESTING = [
  0n,
  1n,
  2n,
  15n,
  16n,
  17n,
  251n,
  2n ** 31n,
  2n ** 32n,
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 63n,
  2n ** 64n - 1n,
];

/** A copy with one to three accidents. */
function damaged(original: Buffer, random: () => number): Buffer {
  let bytes = Buffer.from(original);
  const at = (room: number) => integerBelow(random, Math.max(1, bytes.length - room));
  for (let accidents = integerBelow(random, 3); accidents >= 0; accidents--) {
    const kind = integerBelow(random, 7);
    if (bytes.length < 16) return bytes;
    if (kind === 0) bytes[at(1)] = integerBelow(random, 256);
    else if (kind === 1) u64(INTERESTING[integerBelow(random, INTERESTING.length)] as bigint).copy(bytes, at(8));
    else if (kind === 2) bytes.writeUInt32LE(0x7f800000 + integerBelow(random, 4), at(4) & ~3);
    else if (kind === 3) bytes = bytes.subarray(0, at(0));
    else if (kind === 4) bytes = Buffer.concat([bytes, Buffer.alloc(1 + integerBelow(random, 12))]);
    else if (kind === 5) nudge(bytes, 8 * integerBelow(random, bytes.length >> 3), random() < 0.5 ? 1 : 255);
    else bytes.copyWithin(at(8), at(8), bytes.length);
  }
  return bytes;
}

/** Off by one, the favourite of length fields. */
function nudge(bytes: Buffer, at: number, by: number): void {
  bytes[at] = (bytes[at] as number) + by;
}
