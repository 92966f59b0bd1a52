/**
 * The deletion of one adapter, within a transaction at READ COMMITTED. Locks are taken in the order of every other write
 * (the user's row, the bodies by version, the head by the trigger), so that two deletions wait for each other and never
 * cross.
 */
import type { Key } from '../coherence/key.js';
import type { Session } from '../postgres/database.js';
import * as sql from './statements.js';

/** Deletes every version, or the one given; returns how many. */
export async function deleteBodies(session: Session, key: Key, version?: number): Promise<number> {
  await session.rows(sql.LOCK_OWNER, [key.userId]);
  const held = await lockBodies(session, [key.userId, key.adapterName, version ?? null]);
  // These alone: what was inserted since is not locked, and a DELETE would lock it as it lies, in no order.
  await session.rows(sql.DELETE, [key.userId, key.adapterName, held]);
  return held.length;
}

/**
 * Locks until a look finds nothing that is not held: what a rollback copied while its source was waited for has to go, too.
 * That look is the moment of the deletion, and what is saved after it stays.
 */
async function lockBodies(session: Session, which: readonly unknown[]): Promise<number[]> {
  const held = new Set<number>();
  for (;;) {
    for (const [version] of await session.rows<[number]>(sql.LOCK_BODIES, which)) held.add(version);
    const seen = await session.rows<[number]>(sql.SEE_BODIES, which);
    if (seen.every(([version]) => held.has(version))) return [...held];
  }
}
