/** Redis as the walk sees it: one key, SET NX and four scripts (no bytes go bad here, so nothing is dropped), and what a reader takes for “what I saw there”. */
import type { Body } from './world.js';

/** What stands under the key. `seen` stands for its first 48 bytes: equal where those are. */
export interface Value {
  readonly seen: string;
  /** Undefined: a fill token. */
  readonly entry: Body | undefined;
}

export function tokenValue(token: number): Value {
  return { seen: `token ${token}`, entry: undefined };
}

/** Of a reading only what the header holds travels: when and in which era it was verified stays behind. */
export function entryValue(entry: Body): Value {
  const { revision, version, server, xid } = entry;
  return {
    seen: `r${revision} v${version} s${server} x${xid}`,
    entry: { revision, version, server, xid, verifiedAt: Number.NEGATIVE_INFINITY, era: 0 },
  };
}

/** Each returns what stands there afterwards. */
export interface Scripts {
  claim(held: Value | undefined, token: number): Value;
  fill(held: Value | undefined, seen: string, entry: Body): Value | undefined;
  restamp(held: Value | undefined, seen: string, entry: Body): Value | undefined;
  write(held: Value | undefined, entry: Body): Value | undefined;
  clear(held: Value | undefined, revision: number): Value | undefined;
}

const revisionOf = (held: Value | undefined) => held?.entry?.revision ?? -1;

export const scripts: Scripts = {
  claim: (held, token) => held ?? tokenValue(token),
  fill: (held, seen, entry) => (held?.seen === seen ? entryValue(entry) : held),
  restamp: (held, seen, entry) => (held?.seen === seen ? entryValue(entry) : held),
  write: (held, entry) => (revisionOf(held) > entry.revision ? held : entryValue(entry)),
  clear: (held, revision) => (held === undefined || revisionOf(held) >= revision ? held : undefined),
};
