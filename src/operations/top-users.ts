/** The users with most versions, or who take most room. */
import { TOP_USERS_BY_BYTES, TOP_USERS_BY_VERSIONS } from './statements/overview.js';
import type { Tables } from './tables.js';

export interface UserUsage {
  readonly userId: string;
  /** Rows: every version of every adapter. */
  readonly versions: number;
  readonly adapters: number;
  readonly totalBytes: number;
  readonly updatedAt: Date;
}

/** Those with most versions or bytes, first. Reads the whole table once. */
export async function topUsers(tables: Tables, limit: number, by: 'versions' | 'bytes'): Promise<UserUsage[]> {
  type Row = [userId: string, versions: number, adapters: number, totalBytes: number, updatedAt: number];
  const rows = await tables.rows<Row>(by === 'bytes' ? TOP_USERS_BY_BYTES : TOP_USERS_BY_VERSIONS, [limit]);
  return rows.map(([userId, versions, adapters, totalBytes, updatedAt]) => ({
    userId,
    versions,
    adapters,
    totalBytes,
    updatedAt: new Date(updatedAt),
  }));
}
