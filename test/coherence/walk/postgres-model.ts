/**
 * Postgres as the walk sees it: one head, the transactions under way, and what a snapshot shows of their ids. A revision is
 * a count here, and a transaction commits in one step: the lock on the head lets its writers take turns.
 */
export const OPERATIONS = [
  'save',
  'delete',
  'delete version',
  'rollback',
  'prune',
  'delete old version',
  'bulk delete',
] as const;
export type Operation = (typeof OPERATIONS)[number];

export interface Postgres {
  readonly revision: number;
  /** 0: none. */
  readonly version: number;
  readonly last: number;
  /** Versions there are, ascending. */
  readonly versions: readonly number[];
  /** Ids of transactions under way, ascending. */
  readonly active: readonly number[];
  readonly nextXid: number;
  /** The highest id of a transaction that ended. */
  readonly lastDone: number;
  /** Left by an ear that listens: what shows it shows all that was committed before. */
  readonly mark: number;
}

/** One version there, nobody writing. */
export const FIRST: Postgres = {
  revision: 1,
  version: 1,
  last: 1,
  versions: [1],
  active: [],
  nextXid: 2,
  lastDone: 1,
  mark: 1,
};

/** pg_snapshot_xmax: the first id that the snapshot takes for not yet assigned. */
export const xmax = (pg: Postgres) => pg.lastDone + 1;
/** pg_snapshot_xmin: every transaction below it is in the picture. */
export const xmin = (pg: Postgres) => Math.min(xmax(pg), ...pg.active);

export function begin(pg: Postgres): Postgres {
  return { ...pg, active: [...pg.active, pg.nextXid], nextXid: pg.nextXid + 1 };
}

/** Whether the operation would do anything now. */
export function applies(pg: Postgres, operation: Operation): boolean {
  return operation === 'save' || pg.versions.length > (operation === 'delete old version' ? 1 : 0);
}

/** What the head is after it. Delete version: of the latest. Rollback: to the oldest. Prune: latest too, as pruneOlderThan may.
 * Delete old version: of the oldest, which is not the latest, and changes no head. Bulk delete: somebody else's, of many keys. */
export function commit(pg: Postgres, xid: number, operation: Operation): Postgres {
  const done = { ...pg, active: pg.active.filter((other) => other !== xid), lastDone: Math.max(pg.lastDone, xid) };
  if (!applies(pg, operation)) return done;
  if (operation === 'delete old version') return { ...done, versions: pg.versions.slice(1) };
  const next = pg.last + 1;
  const left = operation === 'delete version' ? pg.versions.slice(0, -1) : [];
  const versions = operation === 'save' || operation === 'rollback' ? [...pg.versions, next] : left;
  return {
    ...done,
    revision: pg.revision + 1,
    version: versions.at(-1) ?? 0,
    versions,
    last: Math.max(pg.last, versions.at(-1) ?? 0),
  };
}
