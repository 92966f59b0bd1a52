/**
 * One load as a state machine without I/O: what each tier answered goes in, what to do next comes out. The loader performs
 * it and nothing else decides. Its state is plain, so that a test can copy it and walk every order of events.
 */
import type { Asked, Coherence, Reading } from './head.js';
import type { Key } from './key.js';

/** What the steps need of the tier in memory. */
export interface Held<E extends Reading> {
  get(userId: string, adapterName: string): E | undefined;
  /** Keeps `entry` unless what is held is newer. */
  put(key: Key, entry: E): unknown;
  /** True: an adapter is held that is not older. */
  dropBelow(key: Key, revision: number): boolean;
  /** Whatever is held must be verified before it is served again. */
  unverify(key: Key): void;
}

/** S: the first bytes of what stands in Redis, over which alone a fill may go. */
export interface Found<E, S> {
  readonly entry: E | undefined;
  readonly seen: S | undefined;
}

export interface AskPostgres<E> {
  readonly do: 'ask postgres';
  /** A body that may still be the latest, and where it lies. 'postgres': it is a replica's. */
  readonly held: E | undefined;
  readonly tier: 'memory' | 'redis' | 'postgres';
  readonly asked: Asked;
}

export interface Serve<E, S> {
  readonly do: 'serve';
  readonly entry: E;
  /** Where its bytes came from. */
  readonly tier: 'memory' | 'redis' | 'postgres';
  /** Served although it could not be verified. */
  readonly stale: boolean;
  /** The furthest that was asked. */
  readonly asked: 'redis' | 'postgres';
  /** What to leave in Redis, over what was seen there. */
  readonly leave: { readonly how: 'fill' | 'restamp'; readonly seen: S } | undefined;
  /** It is newer than all that was known: later loads must not join what is under way. */
  readonly news: News | undefined;
}

export interface News {
  /** What is remembered grew too large and was dropped: the ear has to note a new horizon. */
  readonly renew: boolean;
}

export type Next<E, S> = Serve<E, S> | AskPostgres<E> | { readonly do: 'read redis' } | { readonly do: 'claim' };

export interface LoadOptions {
  readonly redis: boolean;
  readonly maxStalenessMs: number;
  readonly staleIfErrorMs: number;
}

/** How far a load has come. */
export interface LoadState<E, S> {
  found: Found<E, S> | undefined;
  asking: AskPostgres<E> | undefined;
}

const READ_REDIS = { do: 'read redis' } as const;
const CLAIM = { do: 'claim' } as const;

export class LoadSteps<E extends Reading, S> {
  readonly #key: Key;
  readonly #coherence: Coherence;
  readonly #memory: Held<E> | undefined;
  readonly #options: LoadOptions;
  readonly #state: LoadState<E, S>;

  constructor(
    key: Key,
    coherence: Coherence,
    memory: Held<E> | undefined,
    options: LoadOptions,
    state: LoadState<E, S> = { found: undefined, asking: undefined },
  ) {
    this.#key = key;
    this.#coherence = coherence;
    this.#memory = memory;
    this.#options = options;
    this.#state = state;
  }

  /** Memory has nothing that counts. Where it holds a body, that is verified; Redis is asked where it holds none. */
  begin(now: number): Next<E, S> {
    return this.#options.redis && this.#held() === undefined ? READ_REDIS : this.#askPostgres(now);
  }

  redisAnswered(found: Found<E, S>, now: number): Next<E, S> {
    const coherence = this.#coherence;
    const { entry } = found;
    this.#state.found = found;
    if (entry !== undefined && coherence.admits(this.#key.id, entry) && coherence.counts(entry, now)) {
      // Redis cannot say when it was verified; the ear that covers it can.
      const vouched = { ...entry, verifiedAt: coherence.knownLatestAt(entry) };
      this.#memory?.put(this.#key, vouched);
      return this.#serve(vouched, 'redis', 'redis', now);
    }
    return found.seen === undefined ? CLAIM : this.#askPostgres(now);
  }

  /** The token that was left in Redis; undefined: none, so nothing will be filled. */
  claimed(seen: S | undefined, now: number): AskPostgres<E> {
    this.#state.found = { entry: this.#state.found?.entry, seen };
    return this.#askPostgres(now);
  }

  /** What a replica says counts as what lies in Redis does. Where it does not, its body may be the latest all the same. */
  replicaAnswered(entry: E, now: number): Serve<E, S> | AskPostgres<E> {
    const coherence = this.#coherence;
    if (!coherence.admits(this.#key.id, entry) || !coherence.counts(entry, now)) {
      // Of another server its revision says nothing: two may give the same number to two bodies.
      return this.#askPostgres(now, coherence.knows(entry.server) ? entry : undefined);
    }
    // It cannot say either when that was; the ear that covers it can.
    const vouched = { ...entry, verifiedAt: coherence.knownLatestAt(entry) };
    const { asking } = this.#state;
    const tier = asking?.held?.revision === entry.revision ? asking.tier : 'postgres';
    this.#memory?.put(this.#key, vouched);
    return this.#serve(vouched, tier, 'postgres', now);
  }

  /**
   * After a replica's answer was served: what Postgres has to say before Redis may have it. The key was claimed before the
   * replica was asked, but what it shows may be from before that: a writer who has cleared the key since would find it there
   * again. Undefined: nothing will be left in Redis.
   */
  settle(entry: E, now: number): AskPostgres<E> | undefined {
    const { found, asking } = this.#state;
    if (found?.seen === undefined) return undefined;
    // Whose body it is, not whose revision: what lies in Redis may be rounded, and only its own header fits it.
    const tier = asking?.held?.revision === entry.revision ? asking.tier : 'postgres';
    this.#state.asking = { do: 'ask postgres', held: entry, tier, asked: this.#coherence.ask(now) };
    return this.#state.asking;
  }

  /** Keeps the entry in the tiers above, unless something newer was heard meanwhile. */
  postgresAnswered(entry: E, now: number): Serve<E, S> {
    this.#coherence.answered(entry.server);
    const { found, asking } = this.#state;
    const unchanged = asking !== undefined && asking.held?.revision === entry.revision;
    const tier = unchanged ? asking.tier : 'postgres';
    if (!this.#coherence.admits(this.#key.id, entry)) return this.#serve(entry, tier, 'postgres', now);
    this.#memory?.put(this.#key, entry);
    // What Redis holds may be newer than this answer: a fill must not go back behind it.
    const fills = found?.seen !== undefined && (found.entry?.revision ?? -1) <= entry.revision;
    const how = tier === 'redis' ? 'restamp' : 'fill';
    return this.#serve(entry, tier, 'postgres', now, fills ? { how, seen: found.seen } : undefined);
  }

  /** Postgres cannot be asked: what is held may be served for a while, and says so. */
  postgresUnavailable(now: number): Serve<E, S> | undefined {
    const { maxStalenessMs, staleIfErrorMs } = this.#options;
    const { held, tier = 'memory' } = this.#state.asking ?? {};
    // Asked again: while Postgres was silent, the bus may have told of something newer.
    if (held === undefined || staleIfErrorMs === 0 || this.#coherence.outdated(this.#key.id, held)) return undefined;
    if (now - this.#coherence.knownLatestAt(held) > maxStalenessMs + staleIfErrorMs) return undefined;
    return { do: 'serve', entry: held, tier, stale: true, asked: 'postgres', leave: undefined, news: undefined };
  }

  #serve(
    entry: E,
    tier: Serve<E, S>['tier'],
    asked: Serve<E, S>['asked'],
    now: number,
    leave?: Serve<E, S>['leave'],
  ): Serve<E, S> {
    const { era } = this.#coherence;
    const news = this.#coherence.show(this.#key.id, entry.revision, now);
    const renew = this.#coherence.era !== era;
    return { do: 'serve', entry, tier, stale: false, asked, leave, news: news ? { renew } : undefined };
  }

  #askPostgres(now: number, replicated?: E): AskPostgres<E> {
    // Looked up again: while Redis was asked, a save may have put something newer here.
    const held = this.#held();
    const found = this.#usable(this.#state.found?.entry);
    const body = held ?? newer(found, this.#usable(replicated));
    const tier = held !== undefined ? 'memory' : body !== undefined && body === replicated ? 'postgres' : 'redis';
    this.#state.asking = { do: 'ask postgres', held: body, tier, asked: this.#coherence.ask(now) };
    return this.#state.asking;
  }

  #usable(entry: E | undefined): E | undefined {
    return entry !== undefined && !this.#coherence.outdated(this.#key.id, entry) ? entry : undefined;
  }

  #held(): E | undefined {
    return this.#memory?.get(this.#key.userId, this.#key.adapterName);
  }
}

/** Of the same revision that of the standby: more is known of when it was the latest. */
function newer<E extends Reading>(found: E | undefined, replicated: E | undefined): E | undefined {
  return found !== undefined && found.revision > (replicated?.revision ?? -1) ? found : replicated;
}
