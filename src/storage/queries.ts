/** Questions about rows that no cache answers: lists, counts, statistics. */
import type { PostgresTier } from '../tiers/postgres.js';
import * as sql from '../tiers/statements.js';

export interface LoRAAdapterMetadata {
  readonly userId: string;
  readonly adapterName: string;
  readonly version: number;
  readonly sizeBytes: number;
  readonly trainingIterations: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export interface StorageStats {
  /** Rows: every version of every adapter. */
  readonly totalAdapters: number;
  readonly uniqueUsers: number;
  readonly totalBytes: number;
  readonly avgBytes: number;
}

export async function listAdapters(postgres: PostgresTier, userId: string): Promise<LoRAAdapterMetadata[]> {
  type Row = [name: string, version: number, bytes: number, iterations: number, created: number, updated: number];
  const rows = await postgres.query<Row>(sql.LIST, [userId]);
  return rows.map(([adapterName, version, sizeBytes, trainingIterations, created, updated]) => ({
    userId,
    adapterName,
    version,
    sizeBytes,
    trainingIterations,
    createdAt: new Date(created),
    updatedAt: new Date(updated),
  }));
}

export async function countAdapters(postgres: PostgresTier, userId: string): Promise<number> {
  const [row] = await postgres.query<[count: number]>(sql.COUNT, [userId]);
  return row?.[0] ?? 0;
}

export async function storageStats(postgres: PostgresTier): Promise<StorageStats> {
  const [row] = await postgres.query<[number, number, number, number]>(sql.STATS, []);
  const [totalAdapters = 0, uniqueUsers = 0, totalBytes = 0, avgBytes = 0] = row ?? [];
  return { totalAdapters, uniqueUsers, totalBytes, avgBytes };
}
