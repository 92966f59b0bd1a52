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

export class Changes<E extends Reading> {
  readonly #coherence: Coherence;
  readonly #memory: Held<E> | undefined;
  readonly #unconfirmed: Unconfirmed;

  constructor(coherence: Coherence, memory: Held<E> | undefined, unconfirmed: Unconfirmed = new Map()) {
    this.#coherence = coherence;
    this.#memory = memory;
    this.#unconfirmed = unconfirmed;
  }

  /**
   * `key` is at `revision`. Undefined where that is no news; otherwise loads under way answer only those who wait.
   * settled: whoever tells of it says that Redis holds nothing older.
   */
  heard(key: Key, revision: number, via: Via, now: number, settled = via !== 'change-feed'): Heard | undefined {
    const coherence = this.#coherence;
    const waiting = this.#unconfirmed.get(key.id);
    if (via === 'bus' && settled && waiting !== undefined && waiting.revision <= revision)
      this.#unconfirmed.delete(key.id);
    const { era } = coherence;
    if (!coherence.raise(key.id, revision, now)) return undefined;
    const held = this.#memory?.dropBelow(key, revision) ?? false;
    const unconfirmed = !settled;
    if (unconfirmed) this.#unconfirmed.set(key.id, { key, revision });
    // Late word of what was loaded meanwhile raises the floor, and replaces nothing.
    return { invalidated: !held, unconfirmed, renew: coherence.era !== era };
  }

  /** Time is up for whoever might have confirmed: what Redis holds below these revisions has to go. */
  takeUnconfirmed(): { readonly key: Key; readonly revision: number }[] {
    const taken = [...this.#unconfirmed.values()];
    this.#unconfirmed.clear();
    return taken;
  }

  /** A write is about to be sent: until its answer is here nothing known of this key is sure. */
  sending(key: Key, now: number): Asked {
    this.#memory?.unverify(key);
    return this.#coherence.ask(now);
  }

  /** A save was committed and heard of: memory keeps it, unless something newer was heard meanwhile. */
  saved(key: Key, entry: E): void {
    if (this.#coherence.admits(key.id, entry)) this.#memory?.put(key, entry);
  }

  /** Something newer than this save was heard of, so what it leaves in Redis may have come after what cleared it. */
  overtaken(key: Key, entry: E): boolean {
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
