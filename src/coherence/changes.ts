/**
 * What a node does about a change of an adapter, without I/O: one that it is told of, and one that it makes itself. Each
 * event returns what is left to be done outside; its own state is what Redis may still hold below a revision it heard.
 */
import type { Asked, Coherence, Reading } from './head.js';
import type { Key } from './key.js';
import type { Held } from './load.js';

export type Via = 'bus' | 'change-feed' | 'self';

export interface Heard {
  /** What memory held was replaced by it: worth telling. */
  readonly invalidated: boolean;
  /** Nobody said that Redis is right: unless somebody does, what it holds below has to go. */
  readonly unconfirmed: boolean;
  /** The floors were full and dropped: the ear has to note a new horizon. */
  readonly renew: boolean;
}

/** Revisions that only the change feed told of, by key. */
export type Unconfirmed = Map<string, { readonly key: Key; readonly revision: number }>;

/** Revisions that this node wrote to Redis, by key, the oldest first. */
export type Written = Map<string, number>;

/** Of how many keys that is remembered: whoever forgets one leaves at worst what nobody is served, until its time is up. */
const MAX_WRITTEN = 10_000;

export class Changes<E extends Reading> {
  readonly #coherence: Coherence;
  readonly #memory: Held<E> | undefined;
  readonly #unconfirmed: Unconfirmed;
  readonly #written: Written;

  constructor(
    coherence: Coherence,
    memory: Held<E> | undefined,
    unconfirmed: Unconfirmed = new Map(),
    written: Written = new Map(),
  ) {
    this.#coherence = coherence;
    this.#memory = memory;
    this.#unconfirmed = unconfirmed;
    this.#written = written;
  }

  /**
   * `key` is at `revision`. Undefined where that is no news; otherwise loads under way answer only those who wait.
   * says: whoever tells of it says that Redis holds nothing older. Of what this node wrote there itself it cannot know: a
   * save of ours may have arrived after it was cleared.
   */
  heard(key: Key, revision: number, via: Via, now: number, says = via !== 'change-feed'): Heard | undefined {
    const coherence = this.#coherence;
    const settled = says && (via === 'self' || (this.#written.get(key.id) ?? revision) >= revision);
    const waiting = this.#unconfirmed.get(key.id);
    if (via === 'bus' && settled && waiting !== undefined && waiting.revision <= revision)
      this.#unconfirmed.delete(key.id);
    const { era } = coherence;
    if (!coherence.raise(key.id, revision, now)) return undefined;
    const held = this.#memory?.dropBelow(key, revision) ?? false;
    const unconfirmed = !settled;
    if (unconfirmed) this.#unconfirmed.set(key.id, { key, revision });
    // Late word of what was loaded meanwhile raises the floor, and replaces nothing. That nothing was found is no word: a
    // load does not say whether there ever was anything, and a deletion is told.
    return { invalidated: !held, unconfirmed, renew: coherence.era !== era };
  }

  /** Time is up for whoever might have confirmed: what Redis holds below these revisions has to go. */
  takeUnconfirmed(): { readonly key: Key; readonly revision: number }[] {
    const taken = [...this.#unconfirmed.values()];
    this.#unconfirmed.clear();
    for (const { key, revision } of taken) {
      if ((this.#written.get(key.id) ?? revision) < revision) this.#written.delete(key.id);
    }
    return taken;
  }

  /** A write is about to be sent: until its answer is here nothing known of this key is sure. */
  sending(key: Key, now: number): Asked {
    this.#memory?.unverify(key);
    return this.#coherence.ask(now);
  }

  /** A save was committed and heard of: memory keeps it, unless something newer was heard meanwhile. */
  saved(key: Key, entry: E): void {
    this.#coherence.answered(entry.server);
    if (this.#coherence.admits(key.id, entry)) this.#memory?.put(key, entry);
  }

  /**
   * This save has reached Redis. True: something newer was heard of meanwhile, so it may have come after what cleared it.
   * What is heard of later finds it noted.
   */
  overtaken(key: Key, entry: E): boolean {
    this.#written.delete(key.id);
    const [oldest] = this.#written.size >= MAX_WRITTEN ? this.#written.keys() : [];
    if (oldest !== undefined) this.#written.delete(oldest);
    this.#written.set(key.id, entry.revision);
    return this.#coherence.outdated(key.id, entry);
  }

  /**
   * A write that failed may have been committed all the same. A load that was under way may have read what was there
   * before it, and may still bring that: neither it nor what it has brought is trusted.
   */
  unanswered(key: Key, now: number): { readonly renew: boolean } {
    const { era } = this.#coherence;
    this.#coherence.doubt(key.id, now);
    this.#memory?.unverify(key);
    return { renew: this.#coherence.era !== era };
  }
}
