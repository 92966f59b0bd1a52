/** The state of the walk: Postgres, Redis, two nodes, what is on its way between them, and what the checks remember. */
import { type Knowledge, type Notes, nothingKnown, type Reading } from '../../../src/coherence/head.js';
import { keyOf } from '../../../src/coherence/key.js';
import type { LoadState } from '../../../src/coherence/load.js';
import type { Mark } from './marks.js';
import { FIRST, type Operation, type Postgres, xmax, xmin } from './postgres-model.js';
import { entryValue, type Value } from './redis-model.js';

export const KEY = keyOf('00000000-0000-4000-8000-000000000001', 'default');
export const SERVER = 7;
export const LEASE = 1000;
/** Longer than a lease; what happens between two such jumps takes less than one. */
export const MINUTES = 2 * LEASE;

/** A body is known by its version: those never change. */
export type Body = Reading;

/** What a caller must be given at least: what its node had heard of, or should have, when it asked. */
export interface Flight {
  readonly state: LoadState<Body, string>;
  at: 'got' | 'asks replica' | 'replicated' | 'asked' | 'read';
  /** What Postgres shows, as far as it has come: a commit may still come before it. */
  answer: Body | undefined;
  /** What the standby has answered. */
  shown: Postgres | undefined;
  /** The most that one of those who wait may expect. */
  least: number;
  /** The same of an answer that is flagged stale. */
  due: number;
  readonly begunAt: number;
  /** Later callers start anew. */
  detached: boolean;
}

export interface Write {
  readonly operation: Operation;
  readonly xid: number;
  readonly asked: { readonly verifiedAt: number; readonly era: number };
  /** What Postgres answers once it has committed. */
  head: { readonly revision: number; readonly version: number } | undefined;
  at: 'sent' | 'committed' | 'telling' | 'orphaned';
}

/** What Postgres sends a listening connection, in this order. */
export type Word =
  | { readonly is: 'head'; readonly revision: number }
  | { readonly is: 'many' }
  | { readonly is: 'beat'; readonly sentAt: number }
  | {
      readonly is: 'horizon';
      readonly xid: number;
      readonly mark: number;
      readonly era: number;
      readonly sentAt: number;
    };

export interface Fill {
  readonly how: 'fill' | 'restamp';
  readonly seen: string;
  readonly entry: Body;
}

export interface Node {
  now: number;
  readonly known: Knowledge;
  memory: Body | undefined;
  /** Heard from the feed alone; 0: nothing. */
  unconfirmed: number;
  /** Revision of its own that it wrote to Redis last; 0: none. */
  written: number;
  flights: Flight[];
  fills: Fill[];
  writes: Write[];
  /** Bus messages to this node, and how often each may still arrive. `confirms`: Redis took what it tells of. */
  inbox: { readonly revision: number; readonly confirms: boolean; readonly left: number }[];
  /** Whether Postgres has a listening connection of this node. */
  listening: boolean;
  stream: Word[];
  /** For the checks: what it heard, and what was committed longer ago than a lease. */
  heard: number;
  expired: number;
  /** A write of its own that it was not told of, committed by then: its next load has to tell. */
  unanswered: number;
  /** What a load here was answered with; 0: nothing yet. */
  given: number;
  /** What digest() made of it; undefined where it may have changed since. */
  mark: Mark | undefined;
}

export interface World {
  pg: Postgres;
  /** What the standby shows: Postgres as it once was. */
  replica: Postgres;
  redis: Value | undefined;
  /** What a replica holds that follows no more. */
  copy: { readonly value: Value | undefined } | undefined;
  nodes: [Node, Node];
  /** Nodes that this step has made its own, and may change. */
  own: [boolean, boolean];
  loads: number;
  writes: number;
  faults: number;
  /** For the checks: Redis was told that nothing below it stands. -1, here and below: it went back in time. */
  cleared: number;
  /** For the checks: what a node heard of since Redis went back in time. */
  told: number;
}

function liveNode(memory: Body | undefined, feed: boolean): Node {
  if (!feed) return { ...emptyNode(), memory };
  const known = {
    ...oneKey(nothingKnown()),
    horizon: { server: SERVER, xid: xmax(FIRST), mark: FIRST.mark },
    provenAt: 0,
  };
  return { ...emptyNode(), known, memory, listening: true };
}

export function emptyNode(): Node {
  return {
    now: 1,
    known: oneKey(nothingKnown()),
    memory: undefined,
    unconfirmed: 0,
    written: 0,
    flights: [],
    fills: [],
    writes: [],
    inbox: [],
    listening: false,
    stream: [],
    heard: 0,
    expired: 0,
    unanswered: 0,
    given: 0,
    mark: undefined,
  };
}

/** Two live nodes over one version: caches empty, and caches full. */
export function beginnings(
  bounds: { loads: number; writes: number; faults: number },
  { feed, redis }: { readonly feed: boolean; readonly redis: boolean },
): World[] {
  const entry: Body = { revision: 1, version: 1, server: SERVER, xid: xmin(FIRST), verifiedAt: 1, era: 1 };
  const world = (memory: Body | undefined): World => ({
    pg: FIRST,
    replica: FIRST,
    redis: redis && memory !== undefined ? entryValue(memory) : undefined,
    copy: undefined,
    nodes: [liveNode(memory, feed), liveNode(memory, feed)],
    own: [false, false],
    ...bounds,
    cleared: 0,
    told: 0,
  });
  return [world(undefined), world(entry)];
}

/** A world to change; its nodes are those of `world` until change() makes one its own. */
export function copyWorld(world: World): World {
  return { ...world, nodes: [world.nodes[0], world.nodes[1]], own: [false, false] };
}

export function change(world: World, i: 0 | 1): Node {
  const node = world.nodes[i];
  if (world.own[i]) return node;
  const copy: Node = {
    ...node,
    mark: undefined,
    known: oneKey(node.known),
    flights: node.flights.map((flight) => ({ ...flight, state: { ...flight.state } })),
    fills: [...node.fills],
    writes: node.writes.map((write) => ({ ...write })),
    inbox: [...node.inbox],
    stream: [...node.stream],
  };
  world.nodes[i] = copy;
  world.own[i] = true;
  return copy;
}

/** Notes of one key, which cost little to copy. */
class OneNote implements Notes {
  #value: number | undefined;

  constructor(value: number | undefined) {
    this.#value = value;
  }

  get size(): number {
    return this.#value === undefined ? 0 : 1;
  }

  get(key: string): number | undefined {
    return key === KEY.id ? this.#value : undefined;
  }

  set(key: string, value: number): void {
    if (key === KEY.id) this.#value = value;
  }

  delete(key: string): void {
    if (key === KEY.id) this.#value = undefined;
  }

  clear(): void {
    this.#value = undefined;
  }
}

function oneKey(known: Knowledge): Knowledge {
  return {
    ...known,
    floors: new OneNote(known.floors.get(KEY.id)),
    doubts: new OneNote(known.doubts.get(KEY.id)),
    shown: new OneNote(known.shown.get(KEY.id)),
    shownBefore: new OneNote(known.shownBefore.get(KEY.id)),
  };
}
