/** What the walk runs: the product's own code, unless a test weakens it to see the walk fail. */
import { mayJoin } from '../../../src/coherence/flight.js';
import { type Asked, Coherence, type Knowledge } from '../../../src/coherence/head.js';
import type { Postgres } from './postgres-model.js';
import { type Scripts, scripts } from './redis-model.js';
import { LEASE, type Node, SERVER } from './world.js';

export interface Rules {
  coherence(known: Knowledge): Coherence;
  readonly scripts: Scripts;
  /** Whether a load may join a flight. */
  joins(begunAt: number, now: number): boolean;
  /** Whether a message over the bus says that Redis did not take what it tells of. */
  readonly saysUnsettled: boolean;
  /** False: there is no ear, and a reading counts for a while. */
  readonly feed: boolean;
  /** False: there is no Redis, and so no bus. */
  readonly redis: boolean;
  /** Whether a standby is asked before Postgres, and what its answer says of when: that it shows the mark of an era. */
  readonly replica: false | ((node: Node, coherence: Coherence, shown: Postgres) => Asked);
  /** How long an entry may be served beyond its lease while Postgres is away; 0: not at all, and Postgres is never away. */
  readonly staleIfErrorMs: number;
}

export const OPTIONS = { maxStalenessMs: LEASE, changeFeed: true } as const;

export const PRODUCT: Rules = {
  coherence: (known) => new Coherence(OPTIONS, known),
  scripts,
  joins: (begunAt, now) => mayJoin(begunAt, now, LEASE),
  saysUnsettled: true,
  feed: true,
  redis: true,
  replica: false,
  staleIfErrorMs: 0,
};

export const REPLICA: Rules = {
  ...PRODUCT,
  replica: (_, coherence, { mark }) => ({
    verifiedAt: Number.NEGATIVE_INFINITY,
    era: coherence.eraShown(SERVER, mark),
  }),
};

export const NO_FEED: Rules = {
  ...PRODUCT,
  coherence: (known) => new Coherence({ ...OPTIONS, changeFeed: false }, known),
  feed: false,
};

export const NO_REDIS: Rules = { ...PRODUCT, redis: false };

/** A standby that may answer while Postgres is away. */
export const STALE_REPLICA: Rules = { ...REPLICA, staleIfErrorMs: LEASE / 2 };

/** With the lease it is less than minutes. */
export const STALE: Rules = { ...PRODUCT, staleIfErrorMs: LEASE / 2 };
