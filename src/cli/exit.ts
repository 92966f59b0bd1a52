/** How a command ends: what its exit code says to a script, and what it prints where something failed. */
import { CommanderError } from 'commander';
import { LoRAStorageError } from '../errors.js';
import { sqlState } from '../postgres/failure.js';

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

/** Of bad data, of a constraint, of a right that is missing or a statement that makes no sense: tried again, it is the same. */
const FINAL_STATES = /^(22|23|42)/;

const UNAVAILABLE = ['STORAGE_UNAVAILABLE', 'STORAGE_OVERLOADED'];

/** The exit code that an error stands for. */
export function exitCodeOf(error: unknown, signal?: AbortSignal): ExitCode {
  if (signal?.aborted) return EXIT.interrupted;
  // Help that was asked for is thrown, too.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
  if (error instanceof UsageError) return EXIT.usage;
  if (!(error instanceof LoRAStorageError)) return EXIT.failed;
  if (error.code === 'SCHEMA_OUT_OF_DATE') return EXIT.unavailable;
  if (FINAL_STATES.test(sqlState(error.cause) ?? '')) return EXIT.failed;
  if (UNAVAILABLE.includes(error.code)) return EXIT.unavailable;
  return error.code === 'INVALID_ADAPTER' ? EXIT.usage : EXIT.failed;
}

/**
 * What `open` opens or runs by the options of the command line. These are read there, and refused with a TypeError or a
 * RangeError, which anywhere else is a fault of the program and no reason to correct a command.
 */
export async function byOptions<T>(open: () => Promise<T> | T): Promise<T> {
  try {
    return await open();
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
    throw new UsageError(error.message, { cause: error });
  }
}
