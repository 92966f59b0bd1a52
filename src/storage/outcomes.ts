/** How loads and saves end, in words few enough for the labels of a metric. */
import { DeadlineError } from '../deadline.js';
import { AdapterCorruptError, LoRAStorageError } from '../errors.js';
import type { Loaded } from './begun.js';
import type { Tier } from './events.js';

/** How a call was in vain. 'timeout': its budgetMs was up. */
export const LOAD_FAILURES = ['corrupt', 'unavailable', 'overloaded', 'timeout', 'aborted', 'error'] as const;

/**
 * 'hit': the tier answered by itself. 'verified': it held the bytes, and Postgres said that they are the latest. 'stale':
 * it held them, and Postgres could not be asked. 'absent': there is no such adapter, or no such version.
 */
export const LOAD_OUTCOMES = ['hit', 'verified', 'stale', 'absent', ...LOAD_FAILURES] as const;

/** 'conflict': expectedVersion was not the latest. 'unknown': the connection died between the save and its answer. */
export const SAVE_FAILURES = [
  'conflict',
  'no_user',
  'absent',
  'unavailable',
  'overloaded',
  'unknown',
  'error',
] as const;

export type LoadFailure = (typeof LOAD_FAILURES)[number];
export type LoadOutcome = (typeof LOAD_OUTCOMES)[number];
export type SaveFailure = (typeof SAVE_FAILURES)[number];

const LOAD_FAILURE: Readonly<Record<string, LoadFailure>> = {
  ADAPTER_CORRUPT: 'corrupt',
  STORAGE_UNAVAILABLE: 'unavailable',
  STORAGE_OVERLOADED: 'overloaded',
};

const SAVE_FAILURE: Readonly<Record<string, SaveFailure>> = {
  VERSION_CONFLICT: 'conflict',
  USER_NOT_FOUND: 'no_user',
  ADAPTER_NOT_FOUND: 'absent',
  STORAGE_UNAVAILABLE: 'unavailable',
  STORAGE_OVERLOADED: 'overloaded',
  SAVE_OUTCOME_UNKNOWN: 'unknown',
};

export function loadOutcome({ entry, tier, asked, stale }: Loaded): LoadOutcome {
  if (entry.record === undefined) return 'absent';
  if (stale) return 'stale';
  return asked === 'postgres' && tier !== 'postgres' ? 'verified' : 'hit';
}

export function loadFailure(error: unknown, signal: AbortSignal | undefined): LoadFailure {
  if (signal?.aborted && error === signal.reason) return 'aborted';
  if (error instanceof DeadlineError) return 'timeout';
  return LOAD_FAILURE[codeOf(error)] ?? 'error';
}

export function saveFailure(error: unknown): SaveFailure {
  return SAVE_FAILURE[codeOf(error)] ?? 'error';
}

const TIERS: readonly Tier[] = ['memory', 'redis', 'postgres'];

/** Of many: how many ended how, and the furthest that was asked for any. */
export function summary(answers: readonly (Loaded | AdapterCorruptError)[]) {
  const outcomes: Partial<Record<LoadOutcome, number>> = {};
  let furthest = 0;
  for (const answer of answers) {
    const corrupt = answer instanceof AdapterCorruptError;
    const outcome = corrupt ? 'corrupt' : loadOutcome(answer);
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    furthest = Math.max(furthest, TIERS.indexOf(corrupt ? 'postgres' : answer.asked));
  }
  return { outcomes, asked: TIERS[furthest] };
}

function codeOf(error: unknown): string {
  return error instanceof LoRAStorageError ? error.code : '';
}
