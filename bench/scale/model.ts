/**
 * What so many users take, from what was measured: plain products, which docs/scaling.md shows with the same names. Every server is
 * taken to be like the one that was measured; only how many of them there are is found here.
 */
import type { Constants } from './constants.js';

/** Of whoever plans; the defaults are an example and nobody's traffic. */
export interface Assumptions {
  /** Of the users, how many come on a day. */
  readonly activeShare: number;
  /** Of each of them a day, evenly over the nodes; a session stays on its node. */
  readonly sessions: number;
  readonly loadsPerSession: number;
  /** A training at its end. */
  readonly savesPerSession: number;
  readonly sessionSeconds: number;
  /** The busiest moment over the mean of a day. */
  readonly peak: number;
  readonly versionsKept: number;
  /** Of what a server was measured to sustain, how much is used at the peak. */
  readonly busy: number;
  /** What one primary may hold: as much as can be vacuumed, dumped and restored in a night. */
  readonly primaryBytes: number;
  readonly primaryCores: number;
  /** maxmemory of one master, of one thread. */
  readonly masterBytes: number;
  /** memory.maxBytes of one node, a process of one core. */
  readonly nodeBytes: number;
}

export const EXAMPLE: Assumptions = {
  activeShare: 0.1,
  sessions: 3,
  loadsPerSession: 20,
  savesPerSession: 1,
  sessionSeconds: 600,
  peak: 3,
  versionsKept: 2,
  busy: 0.5,
  primaryBytes: 2e12,
  primaryCores: 16,
  masterBytes: 24e9,
  nodeBytes: 4e9,
};

const DAY = 86_400;
/** A cached adapter of the default shape in a node's memory: 1.11 times its bytes, of `npm run bench -- footprint`. */
export const CACHED_BYTES = 1.11 * 41_052;

export interface Capacity {
  readonly activeUsers: number;
  /** Each a second, at the peak. */
  readonly loads: number;
  readonly memoryHits: number;
  readonly redisHits: number;
  readonly postgresLoads: number;
  readonly saves: number;

  readonly postgresBytes: number;
  readonly walBytesPerDay: number;
  readonly primariesBySaves: number;
  readonly primariesByBytes: number;
  readonly primariesByLoads: number;
  readonly primaries: number;
  /** One pass over the bodies of one primary. */
  readonly copySeconds: number;
  /** Of one primary's day, how much autovacuum takes at its default pace for what is pruned. */
  readonly vacuumShare: number;

  readonly redisBytes: number;
  readonly redisHalfBytes: number;
  readonly masters: number;
  readonly mastersHalf: number;

  readonly nodeMemoryBytes: number;
  readonly nodeCores: number;
  /** Of a core of every node, to hear of every save. */
  readonly hearingShare: number;
  /** Infinite where hearing alone takes what a node may use. */
  readonly nodes: number;
}

/** What the model takes of the measurement. */
export type Measured = Pick<
  Constants,
  | 'userBytes'
  | 'headBytes'
  | 'rowBytes'
  | 'toastBytes'
  | 'indexBytes'
  | 'walBytes'
  | 'savesPerSecond'
  | 'postgresLoadPostgresUs'
  | 'copyBytesPerSecond'
  | 'vacuumThrottledUs'
  | 'redisBytes'
  | 'redisHalfBytes'
  | 'redisHitRedisUs'
  | 'memoryHitUs'
  | 'redisHitNodeUs'
  | 'postgresLoadNodeUs'
  | 'saveNodeUs'
  | 'earUs'
  | 'busUs'
>;

export function capacity(users: number, of: Measured, a: Assumptions = EXAMPLE): Capacity {
  const activeUsers = users * a.activeShare;
  const sessions = (activeUsers * a.sessions * a.peak) / DAY;
  // Of a session the first load misses memory; of a user's day the first session misses Redis, too.
  const memoryHits = sessions * (a.loadsPerSession - 1);
  const postgresLoads = sessions / a.sessions;
  const redisHits = sessions - postgresLoads;
  const saves = sessions * a.savesPerSession;
  const savesPerDay = (saves * DAY) / a.peak;

  // Those of a day are there until the nightly prune.
  const versions = users * a.versionsKept + savesPerDay;
  const postgresBytes = users * (of.userBytes + of.headBytes) + versions * versionBytes(of);
  const primariesBySaves = servers(saves, a.busy * of.savesPerSecond);
  const primariesByBytes = servers(postgresBytes, a.primaryBytes);
  const primariesByLoads = servers((postgresLoads * of.postgresLoadPostgresUs) / 1e6, a.busy * a.primaryCores);
  const primaries = Math.max(primariesBySaves, primariesByBytes, primariesByLoads);

  const [redisBytes, redisHalfBytes] = [activeUsers * of.redisBytes, activeUsers * of.redisHalfBytes];
  const mastersByCpu = servers(((redisHits + postgresLoads + saves) * of.redisHitRedisUs) / 1e6, a.busy);

  const nodeMemoryBytes = sessions * a.sessionSeconds * CACHED_BYTES;
  const nodeCores =
    (memoryHits * of.memoryHitUs +
      redisHits * of.redisHitNodeUs +
      postgresLoads * of.postgresLoadNodeUs +
      saves * of.saveNodeUs) /
    1e6;
  const hearingShare = (saves * (of.earUs + of.busUs)) / 1e6;
  const nodesByCpu = hearingShare < a.busy ? servers(nodeCores, a.busy - hearingShare) : Number.POSITIVE_INFINITY;
  return {
    ...{ activeUsers, loads: sessions * a.loadsPerSession, memoryHits, redisHits, postgresLoads, saves },
    ...{ postgresBytes, walBytesPerDay: savesPerDay * of.walBytes },
    ...{ primariesBySaves, primariesByBytes, primariesByLoads, primaries },
    copySeconds: postgresBytes / primaries / of.copyBytesPerSecond,
    vacuumShare: (savesPerDay / primaries / DAY) * (of.vacuumThrottledUs / 1e6),
    ...{ redisBytes, redisHalfBytes },
    masters: Math.max(servers(redisBytes, a.masterBytes), mastersByCpu),
    mastersHalf: Math.max(servers(redisHalfBytes, a.masterBytes), mastersByCpu),
    ...{ nodeMemoryBytes, nodeCores, hearingShare },
    nodes: Math.max(servers(nodeMemoryBytes, a.nodeBytes), nodesByCpu),
  };
}

export interface Limit {
  readonly what: string;
  /** With how many users it is reached. */
  readonly users: number;
}

/** Where one server of each kind ends, the first first: everything grows as the users do, so one number of them tells of any. */
export function limits(of: Measured, a: Assumptions = EXAMPLE): Limit[] {
  const one = capacity(1, of, a);
  const alone = (what: string, used: number) => ({ what, users: 1 / used });
  return [
    alone('memory of one Redis master, f32', one.redisBytes / a.masterBytes),
    alone('memory of one Redis master, f16', one.redisHalfBytes / a.masterBytes),
    alone('disk of one primary', one.postgresBytes / a.primaryBytes),
    alone('saves on one primary', one.saves / (a.busy * of.savesPerSecond)),
    alone('autovacuum of one primary, at its default pace', one.vacuumShare),
    alone('memory of one node', one.nodeMemoryBytes / a.nodeBytes),
    alone('hearing of every save, in every node', one.hearingShare / a.busy),
  ].sort((a, b) => a.users - b.users);
}

export function versionBytes({ rowBytes, toastBytes, indexBytes }: Measured): number {
  return rowBytes + toastBytes + indexBytes;
}

function servers(needed: number, ofOne: number): number {
  return Math.max(1, Math.ceil(needed / ofOne));
}
