/**
 * The two names of an adapter as callers give them: a user id and an adapter name. What passes here can be stored in
 * Postgres (uuid, varchar(100)) and comes back from it unchanged. Values are described in errors, never quoted.
 */
import { InvalidAdapterError } from '../errors.js';

// Any 128 bits: Postgres stores every version and variant, and so did the Rust services before us.
const USER_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

// Digit by digit: each encoding and each decoding does this once, and Buffer's 'hex' took 0.2 µs longer.
const PLACES = Uint8Array.of(0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34);
const DIGITS = Buffer.from('0123456789abcdef');
const VALUES = new Uint8Array(128);
for (const [value, digit] of DIGITS.entries()) VALUES[digit] = value;
/** One for all calls, which are synchronous. */
const text = Buffer.alloc(36, '-');

const MAX_NAME_CHARACTERS = 100;

// With the u flag a pair of surrogates is one character above U+FFFF, so that only a lone one matches.
const UNSTORABLE = /[\0\p{Surrogate}]/u;

/** The canonical lower-case form of a user id, or InvalidAdapterError. */
export function parseUserId(text: unknown): string {
  if (typeof text !== 'string' || !USER_ID.test(text)) {
    throw new InvalidAdapterError(
      `a user id is 32 hexadecimal digits in groups of 8-4-4-4-12 joined by hyphens, not ${describe(text)}`,
    );
  }
  return text.toLowerCase();
}

/** An adapter name as given, when Postgres can store it, or InvalidAdapterError. */
export function parseAdapterName(name: unknown): string {
  if (typeof name !== 'string' || name.length === 0 || isTooLong(name)) {
    throw new InvalidAdapterError(
      `an adapter name is a string of 1 to ${MAX_NAME_CHARACTERS} characters, not ${describe(name)}`,
    );
  }
  if (UNSTORABLE.test(name)) {
    throw new InvalidAdapterError('an adapter name holds neither NUL characters nor unpaired surrogates');
  }
  return name;
}

/** Writes the 16 bytes of a canonical user id into `target` at `offset`. */
export function userIdToBytes(userId: string, target: Uint8Array, offset: number): void {
  for (let i = 0; i < PLACES.length; i++) {
    const place = PLACES[i] as number;
    target[offset + i] = (digitAt(userId, place) << 4) | digitAt(userId, place + 1);
  }
}

/** The canonical form of the 16 bytes at `offset`. */
export function userIdFromBytes(bytes: Uint8Array, offset: number): string {
  for (let i = 0; i < PLACES.length; i++) {
    const place = PLACES[i] as number;
    const byte = bytes[offset + i] as number;
    text[place] = DIGITS[byte >> 4] as number;
    text[place + 1] = DIGITS[byte & 15] as number;
  }
  return text.toString('latin1');
}

function digitAt(userId: string, place: number): number {
  return VALUES[userId.charCodeAt(place)] as number;
}

// varchar(100) counts code points, a string's length UTF-16 units: only between the two must they be counted.
function isTooLong(name: string): boolean {
  if (name.length <= MAX_NAME_CHARACTERS) return false;
  return name.length > 2 * MAX_NAME_CHARACTERS || Array.from(name).length > MAX_NAME_CHARACTERS;
}

function describe(value: unknown): string {
  if (typeof value === 'string') return value === '' ? 'an empty string' : `a string of length ${value.length}`;
  if (value === null || value === undefined) return String(value);
  return `a value of type ${typeof value}`;
}
