/**
 * One function that bus, change feed and our own writes all end in: raise the floor, drop what is below it, let later
 * loads start anew. A revision that only the change feed told of was written by somebody who does not know our Redis
 * (or could not reach it), so what Redis holds below it is removed.
 */
import type { Changes, Via } from '../coherence/changes.js';
import type { Key } from '../coherence/key.js';
import type { Entry } from '../tiers/entry.js';
import type { RedisTier } from '../tiers/redis.js';
import type { Events } from './events.js';
import type { Tasks } from './tasks.js';

/** How long a writer of ours may take from its commit to its bus message. */
const CONFIRMATION_MS = 100;

interface Parts {
  readonly changes: Changes<Entry>;
  readonly redis: RedisTier | undefined;
  readonly events: Events;
  readonly tasks: Tasks;
  /** Loads under way of this key answer only those who wait already. */
  readonly detach: (key: Key) => void;
  /** The floors were full and dropped: the ear has to note a new horizon. */
  readonly renewHorizon: () => void;
}

export class Invalidation {
  readonly #parts: Parts;
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** settled: whoever tells of it says that Redis holds nothing older. */
  heard(key: Key, revision: number, via: Via, settled = via !== 'change-feed'): void {
    const { changes, redis, events, detach, renewHorizon } = this.#parts;
    const heard = changes.heard(key, revision, via, performance.now(), settled);
    if (heard === undefined) return;
    if (heard.renew) renewHorizon();
    detach(key);
    if (redis !== undefined && heard.unconfirmed) this.#timer ??= setTimeout(() => this.#clear(), CONFIRMATION_MS);
    if (!heard.invalidated) return;
    events.emit('invalidated', { userId: key.userId, adapterName: key.adapterName, revision, via });
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#parts.changes.takeUnconfirmed();
  }

  #clear(): void {
    this.#timer = undefined;
    const { changes, redis, tasks } = this.#parts;
    for (const { key, revision } of changes.takeUnconfirmed()) {
      if (redis !== undefined) tasks.track(redis.clear(key, revision));
    }
  }
}
