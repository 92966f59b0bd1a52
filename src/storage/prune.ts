/**
 * How a prune goes through adapters: a page of their keys at a time, in order, whatever comes and goes meanwhile. Nothing
 * is held between two pages, and none is longer than the last, so a prune may be ended anywhere and begun again there.
 */
import { keyOf } from '../coherence/key.js';
import type { Statement } from '../postgres/database.js';
import { ADAPTERS_FROM } from '../tiers/statements.js';

/** Adapters that are looked at together. */
const PAGE = 500;

const [FIRST_USER, LAST_USER] = ['00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff'];

export interface PruneProgress {
  /** Adapters that were looked at. */
  readonly adapters: number;
  /** Rows that were deleted. */
  readonly deleted: number;
  /** Whose adapters were looked at last: what `fromUserId` takes to go on here. */
  readonly userId: string;
}

export interface PruneOptions {
  /** Only this user's adapters. */
  userId?: string;
  /** Begin with this user, in the order of their ids: where an earlier call was ended. */
  fromUserId?: string;
  /** Aborted: no further batch is begun, and the call rejects with the signal's reason. What was deleted stays deleted. */
  signal?: AbortSignal;
  /** Called after each batch. */
  onProgress?: (progress: PruneProgress) => void;
}

export type Ask = <Row extends unknown[]>(statement: Statement, values: readonly unknown[]) => Promise<Row[]>;

export interface AdapterPage {
  readonly userIds: readonly string[];
  readonly names: readonly string[];
  readonly lastUserId: string;
}

/** Every adapter that has a head, of one user or of all from one on. */
export async function* adapterPages(
  ask: Ask,
  { userId, fromUserId = FIRST_USER }: Pick<PruneOptions, 'userId' | 'fromUserId'>,
): AsyncGenerator<AdapterPage> {
  // The key itself is part of the page that begins with it: '' comes before every name.
  let next: readonly [userId: string, name: string] | undefined = [userId ?? fromUserId, ''];
  while (next !== undefined) {
    const keys: [userId: string, name: string][] = await ask(ADAPTERS_FROM, [...next, userId ?? LAST_USER, PAGE + 1]);
    next = keys.length > PAGE ? keys.pop() : undefined;
    const last = keys.at(-1);
    if (last === undefined) return;
    yield { userIds: keys.map(([id]) => id), names: keys.map(([, name]) => name), lastUserId: last[0] };
  }
}

/** The keys of these rows, once each. */
export function distinctKeys(rows: readonly (readonly [userId: string, name: string, ...unknown[]])[]) {
  return [...new Map(rows.map(([userId, name]) => keyOf(userId, name)).map((key) => [key.id, key])).values()];
}
