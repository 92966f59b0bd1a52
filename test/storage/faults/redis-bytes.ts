/** What lies in Redis for an adapter, read and put there past the product, by a client that knows only keys and bytes. */
import { Redis } from 'ioredis';
import { encodeAdapter } from '../../../src/adapter/codec.js';
import { keyOf } from '../../../src/coherence/key.js';
import type { Entry } from '../../../src/tiers/entry.js';
import { decodeEntry } from '../../../src/tiers/redis-entry.js';
import { smallAdapter } from '../../support/storage.js';

export class RedisBytes {
  readonly raw: Redis;
  readonly #namespace: string;

  constructor(url: string, namespace: string) {
    this.raw = new Redis(url);
    this.#namespace = namespace;
  }

  nameOf(userId: string, adapterName = 'default'): string {
    return `${this.#namespace}:v1:{${userId}}:${adapterName}`;
  }

  get(userId: string, adapterName = 'default'): Promise<Buffer | null> {
    return this.raw.getBuffer(this.nameOf(userId, adapterName));
  }

  /** The entry, where there is a whole one of this key. */
  async entry(userId: string, adapterName = 'default'): Promise<Entry | undefined> {
    const value = await this.get(userId, adapterName);
    try {
      return value === null ? undefined : decodeEntry(keyOf(userId, adapterName), value);
    } catch {
      return undefined;
    }
  }

  /** Whether that is smallAdapter(userId, seed). */
  async holds(userId: string, seed: number, adapterName = 'default'): Promise<boolean> {
    const entry = await this.entry(userId, adapterName);
    return entry?.record?.bytes.equals(encodeAdapter(smallAdapter(userId, seed))) === true;
  }
}
