/** What a check is given, and what it has to say. */
import type { LoRAStorageOptions } from '../../options.js';
import type { Cache } from '../audit-redis.js';
import type { Tables } from '../tables.js';

export type Level = 'ok' | 'warning' | 'failure';

export interface Verdict {
  readonly level: Level;
  /** In words, with the numbers. */
  readonly found: string;
  /** What to paste into psql or a shell so that all is well. */
  readonly mend?: string;
}

export interface Finding extends Verdict {
  readonly name: string;
}

export interface Patient {
  /** Of whatever schema. */
  readonly tables: Tables;
  /** Undefined: two tiers. A function, for it may not be there. */
  readonly cache: (() => Promise<Cache>) | undefined;
  /** postgres, redis and namespace, as a node of this installation has them. */
  readonly options: LoRAStorageOptions;
  /** This machine's clock, in milliseconds since the epoch. */
  readonly now: () => number;
}

/** Begins what is found where a check could not be made; the reason follows. */
export const NOT_CHECKED = 'could not be checked';

export type Check = (patient: Patient) => Promise<Verdict>;

export function ok(found: string): Verdict {
  return { level: 'ok', found };
}

export function warning(found: string, mend?: string): Verdict {
  return { level: 'warning', found, ...(mend === undefined ? {} : { mend }) };
}

export function failure(found: string, mend?: string): Verdict {
  return { level: 'failure', found, ...(mend === undefined ? {} : { mend }) };
}
