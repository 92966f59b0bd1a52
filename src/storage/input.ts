/** The caller's numbers and names, checked before anything is asked or sent. Each error says what would do. */
import type { Weights } from '../adapter/record.js';
import { parseAdapterName, parseUserId } from '../adapter/user-id.js';
import { type Key, keyOf } from '../coherence/key.js';
import { InvalidAdapterError } from '../errors.js';
import type { PruneOptions } from './prune.js';

export const DEFAULT_NAME = 'default';

/** Versions and training iterations are `integer` columns. */
const INT4_MAX = 2 ** 31 - 1;

export function parseKey(userId: string, adapterName: string): Key {
  return keyOf(parseUserId(userId), parseAdapterName(adapterName));
}

export function parseVersion(version: number): number {
  return whole('a version', version, 1);
}

export function parseExpectedVersion(version: number | undefined): number | undefined {
  return version === undefined ? undefined : whole('expectedVersion', version, 0);
}

export function parseTrainingIterations(iterations: number): void {
  whole('trainingIterations', iterations, 0);
}

/** With each round of loading rounded weights, training and saving, a little more of them would be lost. */
export function refuseRounded({ rounded }: Weights): void {
  if (!rounded) return;
  throw new InvalidAdapterError(
    'these weights were loaded from a copy in half precision: load with { exact: true } what is to be trained and saved',
  );
}

export function parseKeepLatest(keepLatest: number): number {
  return whole('keepLatest', keepLatest, 1);
}

export function parseDays(days: number): number {
  if (Number.isFinite(days) && days >= 0 && days <= 1_000_000) return days;
  throw new InvalidAdapterError(`olderThanDays is a number of days from 0, not ${String(days)}`);
}

export const PRUNE_OPTIONS = ['userId', 'fromUserId', 'signal', 'onProgress'] as const;

export function parsePrune({ userId, fromUserId, signal, onProgress }: PruneOptions): PruneOptions {
  return {
    ...(userId === undefined ? {} : { userId: parseUserId(userId) }),
    ...(fromUserId === undefined ? {} : { fromUserId: parseUserId(fromUserId) }),
    ...(signal === undefined ? {} : { signal }),
    ...(onProgress === undefined ? {} : { onProgress }),
  };
}

/** Milliseconds that a timer can wait, or undefined. */
export function parseBudget(budgetMs: number | undefined): number | undefined {
  return budgetMs === undefined ? undefined : whole('budgetMs', budgetMs, 0);
}

/** Undefined: no bound. */
export function parsePerSecond(perSecond: number | undefined): void {
  if (perSecond === undefined || (Number.isFinite(perSecond) && perSecond > 0)) return;
  throw new InvalidAdapterError(`perSecond is a number above 0, not ${String(perSecond)}`);
}

/** The options of a call, none of them misspelled: an expectedVersion that is overlooked guards nothing. */
export function parseCall<T extends object>(call: string, options: T | undefined, known: readonly (keyof T)[]): T {
  if (options === undefined) return {} as T;
  if (typeof options !== 'object' || options === null)
    throw new InvalidAdapterError(`the options of ${call} are an object`);
  for (const name of Object.keys(options)) {
    if (known.includes(name as keyof T)) continue;
    throw new InvalidAdapterError(`${call} has no option '${name}'; it has ${known.join(', ')}`);
  }
  return options;
}

function whole(what: string, value: number, min: number): number {
  if (Number.isInteger(value) && value >= min && value <= INT4_MAX) return value;
  throw new InvalidAdapterError(`${what} is a whole number from ${min} to ${INT4_MAX}, not ${String(value)}`);
}
