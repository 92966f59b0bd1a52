/**
 * Coherence as a state machine without I/O: events in, decisions out. It knows which revisions were heard (the floors),
 * what this node's ear covers (the horizon and its lease), and from these decides whether a cached reading may be served
 * without asking Postgres. docs/design.md says why this rule and no weaker one.
 */

/** What a tier knows about one adapter, and when Postgres said so. */
export interface Reading {
  /** Grows whenever the latest version or its body changes. 0: this adapter never existed. */
  readonly revision: number;
  /** Latest version; 0: there is none. */
  readonly version: number;
  /** Number of the server and database that answered: transaction ids of another say nothing. 0: not verified. */
  readonly server: number;
  /** Every transaction below this id is in the picture. */
  readonly xid: number;
  /** Monotonic ms, taken before Postgres was asked. */
  readonly verifiedAt: number;
  /** Era of this node's ear in which Postgres was asked, or whose mark a standby shows; 0: by another node, or with no ear listening. */
  readonly era: number;
}

/** When Postgres was asked: part of every reading that comes of it. */
export type Asked = Pick<Reading, 'verifiedAt' | 'era'>;

export interface Horizon {
  readonly server: number;
  readonly xid: number;
  /** Left on the server once this node listened: a standby that shows it, or a later one, shows all that was committed before. */
  readonly mark?: number | undefined;
}

/** A number by key: a Map, but for a test that knows of one key. */
export interface Notes {
  readonly size: number;
  get(key: string): number | undefined;
  set(key: string, value: number): unknown;
  delete(key: string): unknown;
  clear(): void;
}

/** All that a node knows. Plain, so that a test can copy it and walk every order of events. */
export interface Knowledge {
  readonly floors: Notes;
  /** Keys of which a write may have been committed unheard, and since when. */
  readonly doubts: Notes;
  /** What callers were given since `shownSince`, and in the time before that. */
  shown: Notes;
  shownBefore: Notes;
  shownSince: number;
  horizon: Horizon | undefined;
  /** The server and database that answered last as the primary. */
  primary: number | undefined;
  /** Send time of the last heartbeat that came back. */
  provenAt: number;
  /** The horizon lost last, and until when it covered what it covered. */
  past: (Horizon & { readonly era: number; readonly until: number }) | undefined;
  /** Grows when the horizon is lost, so that a horizon asked for before that is not taken for a new one. */
  era: number;
  /** Without an ear: readings from before floors were forgotten do not count. */
  forgottenAt: number;
}

/** What a node knows that has just begun. */
export function nothingKnown(): Knowledge {
  return {
    floors: new Map(),
    doubts: new Map(),
    shown: new Map(),
    shownBefore: new Map(),
    shownSince: Number.NEGATIVE_INFINITY,
    horizon: undefined,
    primary: undefined,
    provenAt: Number.NEGATIVE_INFINITY,
    past: undefined,
    era: 1,
    forgottenAt: Number.NEGATIVE_INFINITY,
  };
}

export class Coherence {
  readonly #maxStalenessMs: number;
  readonly #feed: boolean;
  readonly #maxFloors: number;
  readonly #known: Knowledge;

  constructor(
    options: { maxStalenessMs: number; changeFeed: boolean; maxFloors?: number },
    known: Knowledge = nothingKnown(),
  ) {
    this.#maxStalenessMs = options.maxStalenessMs;
    this.#feed = options.changeFeed;
    this.#maxFloors = options.maxFloors ?? 100_000;
    this.#known = known;
  }

  // ── events ──

  /** Somebody said that `key` is at `revision`. True when that was news. */
  raise(key: string, revision: number, now: number): boolean {
    const floor = this.#known.floors.get(key);
    if (floor !== undefined && floor >= revision) return false;
    if (floor === undefined && this.#known.floors.size >= this.#maxFloors) this.forget(now);
    this.#known.floors.set(key, revision);
    return true;
  }

  /** A write of `key` was sent and not answered: what was read before now may be older than it. */
  doubt(key: string, now: number): void {
    if (this.#known.doubts.size >= this.#maxFloors) this.forget(now);
    this.#known.doubts.set(key, now);
  }

  /**
   * A caller is given `revision`, of which no word may have come yet: nothing older may follow, though memory lose it and
   * Redis hold something older. Kept for longer than an ear can be mute and trusted: by then word of it has come, or
   * nothing counts that does not show it. True when it was news: what is under way may be older.
   */
  show(key: string, revision: number, now: number): boolean {
    if (revision <= this.#newest(key)) return false;
    const known = this.#known;
    if (known.shown.size >= this.#maxFloors) this.forget(now);
    if (now - known.shownSince >= this.#maxStalenessMs) {
      known.shownBefore = known.shown;
      known.shown = new Map();
      known.shownSince = now;
    }
    known.shown.set(key, revision);
    return true;
  }

  /** Drops every floor. What they guarded must be verified anew, or an old reading would pass for a new one. */
  forget(now: number): void {
    this.#known.floors.clear();
    this.#known.doubts.clear();
    this.#known.shown.clear();
    this.#known.shownBefore.clear();
    this.#known.forgottenAt = now;
    this.loseHorizon();
    // What the ear vouched for, it did so with the floors.
    this.#known.past = undefined;
  }

  /** The ear has a gap: it was cut, or more changed than it was told. Returns the era to ask a horizon for. */
  loseHorizon(): number {
    if (this.#known.horizon)
      this.#known.past = { ...this.#known.horizon, era: this.#known.era, until: this.#known.provenAt };
    this.#known.horizon = undefined;
    return ++this.#known.era;
  }

  get era(): number {
    return this.#known.era;
  }

  /** The ear listens, and noted `horizon` by a query sent at `sentAt` in `era`. False: too late, ask again. */
  listen(horizon: Horizon, era: number, sentAt: number): boolean {
    if (era !== this.#known.era) return false;
    this.#known.horizon = horizon;
    this.#known.provenAt = Math.max(this.#known.provenAt, sentAt);
    return true;
  }

  /**
   * `server` answered as the primary. An ear at another one hears nothing of what commits here: an address was moved in a failover,
   * and the old primary lives on.
   */
  answered(server: number): void {
    if (server === this.#known.primary) return;
    this.#known.primary = server;
    if (this.#known.horizon !== undefined && this.#known.horizon.server !== server) this.loseHorizon();
  }

  /** Whether an ear at `server` hears what commits on the primary, as far as that is known. */
  isPrimary(server: number): boolean {
    return this.#known.primary === undefined || this.#known.primary === server;
  }

  /** A mark that was left after the horizon of `era` was noted: what does not show it commits while the ear listens, too. False: too late. */
  marked(mark: number, era: number): boolean {
    const { horizon } = this.#known;
    if (era !== this.#known.era || horizon === undefined) return false;
    this.#known.horizon = { ...horizon, mark };
    return true;
  }

  /** A heartbeat sent at `sentAt` came back through the ear. */
  heartbeat(sentAt: number): void {
    this.#known.provenAt = Math.max(this.#known.provenAt, sentAt);
  }

  // ── decisions ──

  /** To be noted before Postgres is asked. */
  ask(now: number): Asked {
    return { verifiedAt: now, era: this.#known.horizon === undefined ? 0 : this.#known.era };
  }

  /** May this reading be served without asking Postgres? */
  counts(reading: Reading, now: number): boolean {
    if (this.#feed)
      return (
        now - this.#known.provenAt < this.#maxStalenessMs && covered(this.#known.horizon, this.#known.era, reading)
      );
    return (
      reading.server !== 0 &&
      now - reading.verifiedAt < this.#maxStalenessMs &&
      reading.verifiedAt > this.#known.forgottenAt
    );
  }

  /** The fence: is `reading` not older than what was heard of `key`, and younger than any doubt about it? */
  admits(key: string, reading: Reading): boolean {
    const doubtedAt = this.#known.doubts.get(key);
    if (doubtedAt !== undefined) {
      if (reading.verifiedAt <= doubtedAt) return false;
      this.#known.doubts.delete(key);
    }
    return !this.outdated(key, reading);
  }

  /** Was something newer heard of `key`, or given to a caller? */
  outdated(key: string, reading: Reading): boolean {
    return reading.revision < this.#newest(key);
  }

  /** Monotonic ms at which this reading was last known to be the latest. */
  knownLatestAt(reading: Reading): number {
    if (covered(this.#known.horizon, this.#known.era, reading))
      return Math.max(reading.verifiedAt, this.#known.provenAt);
    if (covered(this.#known.past, this.#known.past?.era, reading))
      return Math.max(reading.verifiedAt, this.#known.past?.until ?? 0);
    return reading.verifiedAt;
  }

  /** Whether a standby that shows this server and mark shows all that was committed before this node listened. */
  reaches(server: number, mark: number): boolean {
    return reached(this.#known.horizon, server, mark);
  }

  /** The era of a standby's answer: that of the ear, or of the one that was lost last, which hears of what it does not show. */
  eraShown(server: number, mark: number): number {
    const { horizon, era, past } = this.#known;
    if (reached(horizon, server, mark)) return era;
    return past !== undefined && reached(past, server, mark) ? past.era : 0;
  }

  /** Whether the ear listens to this server and database, or did until it was lost last. */
  knows(server: number): boolean {
    return server === this.#known.horizon?.server || server === this.#known.past?.server;
  }

  /** The server and database that the ear listens to, while it does. */
  get hears(): number | undefined {
    return this.#known.horizon?.server;
  }

  /** Monotonic ms at which the last heartbeat that came back was sent; undefined: none has. */
  get provenAt(): number | undefined {
    return this.#known.provenAt === Number.NEGATIVE_INFINITY ? undefined : this.#known.provenAt;
  }

  /** Whether the ear's lease runs. */
  live(now: number): boolean {
    return this.#known.horizon !== undefined && now - this.#known.provenAt < this.#maxStalenessMs;
  }

  #newest(key: string): number {
    const { floors, shown, shownBefore } = this.#known;
    return Math.max(floors.get(key) ?? 0, shown.get(key) ?? 0, shownBefore.get(key) ?? 0);
  }
}

function reached(horizon: Horizon | undefined, server: number, mark: number): boolean {
  return horizon?.mark !== undefined && server === horizon.server && mark >= horizon.mark;
}

/**
 * Whether everything that `reading` does not show commits while the ear that noted `horizon` listens. So it is for what
 * this node read itself while that ear listened, and for any stamp that is not below the horizon: by the stamp alone, the
 * oldest transaction of the whole server would have to end first.
 */
function covered(horizon: Horizon | undefined, era: number | undefined, reading: Reading): boolean {
  if (horizon === undefined || reading.server !== horizon.server) return false;
  return reading.era === era || reading.xid >= horizon.xid;
}
