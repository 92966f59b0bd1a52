/** What a user has: every version of every adapter, as a list of bounded length. */
import { parseUserId } from '../adapter/user-id.js';
import { COUNT } from '../tiers/statements.js';
import { USER_VERSIONS } from './statements/overview.js';
import type { Tables } from './tables.js';

export interface UserVersion {
  readonly adapterName: string;
  readonly version: number;
  /** Whether it is what a load of this adapter gives. */
  readonly latest: boolean;
  readonly sizeBytes: number;
  readonly trainingIterations: number;
  /** Whether its writer left a checksum, by which loads tell damaged bytes. */
  readonly checksum: boolean;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export interface UserVersions {
  readonly userId: string;
  /** All there are; `versions` may be fewer. */
  readonly count: number;
  readonly versions: readonly UserVersion[];
}

/** The newest `limit` of them. Throws InvalidAdapterError on another user id. */
export async function userVersions(tables: Tables, user: string, limit: number): Promise<UserVersions> {
  const userId = parseUserId(user);
  type Row = [string, number, boolean, number, number, boolean, created: number, updated: number];
  const rows = await tables.rows<Row>(USER_VERSIONS, [userId, limit]);
  const versions = rows.map(
    ([adapterName, version, latest, sizeBytes, trainingIterations, checksum, created, updated]) => {
      const times = { createdAt: new Date(created), updatedAt: new Date(updated) };
      return { adapterName, version, latest, sizeBytes, trainingIterations, checksum, ...times };
    },
  );
  const [counted] = await tables.rows<[count: number]>(COUNT, [userId]);
  return { userId, count: counted?.[0] ?? 0, versions };
}
