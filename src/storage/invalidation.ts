/**
 * One function that bus, change feed and our own writes all end in: raise the floor, drop what is below it, let later
 * loads start anew. A revision that only the change feed told of was written by somebody who does not know our Redis
 * (or could not reach it), so what Redis holds below it is removed.
 */
import type { Coherence } from '../coherence/head.js';
import type { Key } from '../coherence/key.js';
import type { MemoryTier } from '../tiers/memory.js';
import type { RedisTier } from '../tiers/redis.js';
import type { Events } from './events.js';
import type { Tasks } from './tasks.js';

/** How long a writer of ours may take from its commit to its bus message. */
const CONFIRMATION_MS = 100;

export type Via = 'bus' | 'change-feed' | 'self';

interface Parts {
  readonly coherence: Coherence;
  readonly memory: MemoryTier | undefined;
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
  readonly #unconfirmed = new Map<string, { key: Key; revision: number }>();
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  heard(key: Key, revision: number, via: Via): void {
    const { coherence, memory, redis, events, detach, renewHorizon } = this.#parts;
    if (via === 'bus' && (this.#unconfirmed.get(key.id)?.revision ?? Number.POSITIVE_INFINITY) <= revision) {
      this.#unconfirmed.delete(key.id);
    }
    const { era } = coherence;
    if (!coherence.raise(key.id, revision, performance.now())) return;
    if (coherence.era !== era) renewHorizon();
    const held = memory?.get(key.userId, key.adapterName);
    memory?.dropBelow(key, revision);
    detach(key);
    if (redis !== undefined && via === 'change-feed') this.#clearUnlessConfirmed(key, revision);
    // Late word of what was loaded meanwhile raises the floor, and replaces nothing.
    if (held !== undefined && held.revision >= revision) return;
    events.emit('invalidated', { userId: key.userId, adapterName: key.adapterName, revision, via });
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#unconfirmed.clear();
  }

  #clearUnlessConfirmed(key: Key, revision: number): void {
    this.#unconfirmed.set(key.id, { key, revision });
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      const { redis, tasks } = this.#parts;
      for (const { key, revision } of this.#unconfirmed.values()) {
        if (redis !== undefined) tasks.track(redis.clear(key, revision));
      }
      this.#unconfirmed.clear();
    }, CONFIRMATION_MS);
  }
}
