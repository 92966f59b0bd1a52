/** How many users a run has, as the free disk allows: fewer, and said so, rather than a full disk. */

export interface Plan {
  /** With an adapter of rank 1. */
  readonly users: number;
  /** With an adapter of the default shape, 41,052 bytes. */
  readonly full: number;
  /** What the run may come to take of the disk. */
  readonly bytes: number;
  /** That it is less than was asked for, and why. */
  readonly reduced?: string;
}

/** Of one user, with the versions that the run saves and what they leave behind; rounded up from what was measured. */
const SMALL_BYTES = 1_300;
const FULL_BYTES = 60_000;
/** WAL up to the next checkpoint, an empty cluster, and the versions that are saved in the same time however few users there are. */
const BASE_BYTES = 6e9;
const QUICK_BASE_BYTES = 1e9;
/** A disk that is fuller slows down what is measured, and others use it too. */
const USABLE = 0.8;
/** Fewer say nothing. */
const LEAST_FULL = 100;
const LEAST_USERS = 1_000;

/** Throws where the disk has no room for anything worth measuring. */
export function planFor(asked: { users: number; full: number; quick: boolean }, freeBytes: number): Plan {
  const base = asked.quick ? QUICK_BASE_BYTES : BASE_BYTES;
  const bytesOf = (users: number, full: number) => base + users * SMALL_BYTES + full * FULL_BYTES;
  const room = USABLE * freeBytes;
  const bytes = bytesOf(asked.users, asked.full);
  if (bytes <= room) return { users: asked.users, full: asked.full, bytes };
  // Those of full size go first: they take the room, and the small ones are what a million is about.
  const full = clamp((room - bytesOf(asked.users, 0)) / FULL_BYTES, LEAST_FULL, asked.full);
  const users = clamp((room - bytesOf(0, full)) / SMALL_BYTES, LEAST_USERS, asked.users);
  const left = bytesOf(users, full);
  const wanted = `${count(asked.users)} users and ${count(asked.full)} of full size may take ${gigabytes(bytes)}`;
  const free = `${gigabytes(room)} of the ${gigabytes(freeBytes)} that are free may be used`;
  if (left > room)
    throw new Error(
      `${wanted}, the least that is worth it ${gigabytes(left)}, and ${free}: let TMPDIR name a larger disk`,
    );
  const reduced = `${wanted}, and ${free}: this run has ${count(users)} users and ${count(full)} of full size.`;
  return { users, full, bytes: left, reduced };
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(most, Math.max(Math.min(least, most), Math.floor(value)));
}

function count(value: number): string {
  return value.toLocaleString('en-US');
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}
