/**
 * Bytes that are almost a record, or its half: seeded accidents of the kinds that storage and programs make, and noise that
 * begins like a record. They start at any alignment.
 */
import { integerBelow, u64 } from './adapters.js';

type Random = () => number;

/** Where lengths go wrong: around zero, the varints' limits, and what 32, 53 and 64 bits hold. */
const INTERESTING = [
  ...[0n, 1n, 2n, 15n, 16n, 17n, 251n],
  ...[2n ** 31n, 2n ** 32n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n],
].map(u64);

/** The integers of a record, from its start and from its end; those between the layers move with the dimensions. */
const FIELDS = [0, 24, 32, 40, -20, -8];
const SCALING_FACTOR = -12;

/** A copy with up to three accidents. weightBytes: 4 in a record, 2 in its half. */
export function damaged(original: Uint8Array, weightBytes: 2 | 4, random: Random): Buffer {
  let bytes = misaligned(original, random);
  for (let accidents = integerBelow(random, 4); accidents > 0; accidents--) {
    if (bytes.length < 24) break;
    bytes = accident(bytes, weightBytes, random);
  }
  return bytes;
}

/** Random bytes, of which most have the first fields of a record or its half, so that more than these are looked at. */
export function noise(weightBytes: 2 | 4, random: Random): Buffer {
  const bytes = Buffer.alloc(integerBelow(random, 300));
  for (let i = 0; i < bytes.length; i++) bytes[i] = integerBelow(random, 256);
  const [rank, inputDim, outputDim] = [integerBelow(random, 6), integerBelow(random, 6), integerBelow(random, 6)];
  const userAt = 48 + weightBytes * rank * inputDim;
  const tailAt = userAt + 24 + weightBytes * rank * outputDim;
  const fields: [at: number, value: number][] = [
    ...([
      [0, 16],
      [24, rank],
      [32, inputDim],
      [40, rank * inputDim],
    ] as [number, number][]),
    ...([
      [userAt, outputDim],
      [userAt + 8, rank],
      [userAt + 16, rank * outputDim],
      [tailAt, rank],
    ] as [number, number][]),
  ];
  const written = integerBelow(random, fields.length + 1);
  for (const [at, value] of fields.slice(0, written)) {
    if (at + 8 <= bytes.length) bytes.writeBigUInt64LE(BigInt(value), at);
  }
  return misaligned(bytes, random);
}

function accident(bytes: Buffer, weightBytes: 2 | 4, random: Random): Buffer {
  const below = (limit: number) => integerBelow(random, limit);
  const at = (room: number) => below(Math.max(1, bytes.length - room));
  const interesting = () => INTERESTING[below(INTERESTING.length)] as Buffer;
  switch (below(9)) {
    case 0:
      bytes[at(1)] = below(256);
      return bytes;
    case 1:
      interesting().copy(bytes, at(8));
      return bytes;
    case 2:
      interesting().copy(bytes, fieldAt(bytes, FIELDS[below(FIELDS.length)] as number));
      return bytes;
    case 3:
      notFinite(bytes, weightBytes, random);
      return bytes;
    case 4:
      return bytes.subarray(0, at(0));
    case 5:
      return Buffer.concat([bytes, Buffer.alloc(1 + below(12))]);
    case 6:
      nudge(bytes, 4 * below(bytes.length >> 2), random() < 0.5 ? 1 : 255);
      return bytes;
    case 7:
      bytes.writeUInt32LE(0x7f800000 + below(2 ** 23), fieldAt(bytes, SCALING_FACTOR));
      return bytes;
    default:
      bytes.copyWithin(at(8), at(8), bytes.length);
      return bytes;
  }
}

/** A weight that is infinite or NaN, of either sign; now and then it hits something else. */
function notFinite(bytes: Buffer, weightBytes: 2 | 4, random: Random): void {
  const at = 48 + weightBytes * integerBelow(random, Math.floor((bytes.length - 16) / weightBytes));
  const sign = random() < 0.5 ? 0 : 0x8000;
  const top = sign | (weightBytes === 2 ? 0x7c00 : 0x7f80) | integerBelow(random, 3);
  const last = at + weightBytes - 2;
  if (last + 2 <= bytes.length) bytes.writeUInt16LE(top, last);
}

/** Off by one, the favourite of length fields. */
function nudge(bytes: Buffer, at: number, by: number): void {
  bytes[at] = (bytes[at] as number) + by;
}

function fieldAt(bytes: Buffer, place: number): number {
  return place < 0 ? bytes.length + place : Math.min(place, bytes.length - 8);
}

function misaligned(bytes: Uint8Array, random: Random): Buffer {
  const shift = integerBelow(random, 8);
  const copy = Buffer.allocUnsafe(bytes.length + shift).subarray(shift);
  copy.set(bytes);
  return copy;
}
