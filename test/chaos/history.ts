/**
 * What happened, as plain data: what callers saw, with stamps of one clock that all processes of the machine share, and
 * what the database says was committed, in which order. The checker needs nothing else.
 */
import type { Body } from './bodies.mjs';

export interface ChaosKey {
  readonly userId: string;
  readonly name: string;
}

export type ReadKind = 'load' | 'loadMany' | 'peek';
export type WriteKind = 'save' | 'delete' | 'deleteVersion' | 'rollback';
export type ForeignKind = 'foreign insert' | 'foreign update' | 'foreign delete' | 'foreign deleteVersion';

interface Operation {
  readonly key: number;
  /** Node and which life of it ('node-1.0'), or 'foreign'. */
  readonly by: string;
  /** Monotonic ms. */
  readonly begin: number;
}

export interface Read extends Operation {
  readonly kind: ReadKind;
  readonly end: number;
  /** Undefined: there is no adapter. */
  readonly body: Body | undefined;
  /** Where the call tells it. */
  readonly version?: number | undefined;
  readonly revision?: number | undefined;
  /** It may have been served unverified, and said so. */
  readonly stale: boolean;
}

export interface Write extends Operation {
  readonly kind: WriteKind | ForeignKind;
  /** When its answer was there; Infinity: never. */
  readonly end: number;
  /** done: acknowledged. nothing: acknowledged that nothing was there to change. refused: an error that promises no change. */
  readonly outcome: 'done' | 'nothing' | 'refused' | 'unknown';
  /** Number of what was saved, unique in the run. */
  readonly write?: number | undefined;
  /** The version it became, or the one it was about (deleteVersion). */
  readonly version?: number | undefined;
  readonly expectedVersion?: number | undefined;
  /** Revision of the head that its own transaction saw last; only foreign writers look. */
  readonly revision?: number | undefined;
}

export interface Failure extends Operation {
  readonly kind: string;
  readonly end: number;
  readonly error: string;
  readonly message: string;
  /** After all faults were healed and patience was over. */
  readonly final?: boolean;
}

/** A head as a transaction left it. In `seq` order per key: it is logged under the head's lock, at the commit. */
export interface HeadState {
  readonly seq: number;
  readonly key: number;
  readonly xid: string;
  /** Monotonic ms. */
  readonly at: number;
  readonly by: string;
  readonly revision: number;
  /** What the head says is the latest; 0: nothing. */
  readonly version: number;
  /** What the bodies say. */
  readonly trueVersion: number;
  readonly write: number;
}

export interface BodyChange {
  readonly seq: number;
  readonly key: number;
  readonly at: number;
  readonly by: string;
  readonly change: 'insert' | 'update' | 'delete';
  readonly version: number;
  readonly write: number;
}

export interface Row {
  readonly key: number;
  readonly version: number;
  readonly write: number;
}

export interface Fault {
  readonly kind: string;
  readonly target: string;
  readonly begin: number;
  readonly end: number;
}

export interface History {
  readonly keys: readonly ChaosKey[];
  readonly reads: Read[];
  readonly writes: Write[];
  readonly failures: Failure[];
  readonly faults: Fault[];
  /** From the database, at the end. */
  heads: HeadState[];
  bodies: BodyChange[];
  rows: Row[];
}

export function emptyHistory(keys: readonly ChaosKey[]): History {
  return { keys, reads: [], writes: [], failures: [], faults: [], heads: [], bodies: [], rows: [] };
}

/** CLOCK_MONOTONIC in ms: the same in every process of this machine. */
export function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
