/** The users who take most room. */
import { TOP_USERS } from './statements.js';
import type { Tables } from './tables.js';

export interface UserUsage {
  readonly userId: string;
  /** Rows: every version of every adapter. */
  readonly versions: number;
  readonly adapters: number;
  readonly totalBytes: number;
  readonly updatedAt: Date;
}

/** Those with most versions, first. Reads the whole table once. */
export async function topUsers(tables: Tables, limit: number): Promise<UserUsage[]> {
  type Row = [userId: string, versions: number, adapters: number, totalBytes: number, updatedAt: number];
  const rows = await tables.rows<Row>(TOP_USERS, [limit]);
  return rows.map(([userId, versions, adapters, totalBytes, updatedAt]) => ({
    userId,
    versions,
    adapters,
    totalBytes,
    updatedAt: new Date(updatedAt),
  }));
}
