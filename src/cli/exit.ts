/** How a command ends: what its exit code says to a script, and what it prints where something failed. */
import { CommanderError } from 'commander';
import { LoRAStorageError } from '../errors.js';

export const EXIT = {
  /** Done, and nothing was wrong. */
  done: 0,
  /** It failed, or it found what it looks for: bad rows, a check that failed, an adapter that is not there. */
  failed: 1,
  /** The command line makes no sense; nothing was done. */
  usage: 2,
  /** A server did not answer, or its schema is out of date; it can be tried again. */
  unavailable: 3,
  /** Ctrl-C or SIGTERM. What was done stays done, and nothing is half done. */
  interrupted: 130,
} as const;

/** One of EXIT. */
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** A command line that says two things, or too little; the message says what to write instead. */
export class UsageError extends Error {}

const UNAVAILABLE = ['STORAGE_UNAVAILABLE', 'STORAGE_OVERLOADED', 'SCHEMA_OUT_OF_DATE'];

/** The exit code that an error stands for. */
export function exitCodeOf(error: unknown, signal?: AbortSignal): ExitCode {
  if (signal?.aborted) return EXIT.interrupted;
  // Help that was asked for is thrown, too.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
  if (error instanceof LoRAStorageError && UNAVAILABLE.includes(error.code)) return EXIT.unavailable;
  if (error instanceof LoRAStorageError && error.code === 'INVALID_ADAPTER') return EXIT.usage;
  // Options of open() and migrate() are refused with these.
  if (error instanceof UsageError || error instanceof TypeError || error instanceof RangeError) return EXIT.usage;
  return EXIT.failed;
}
