/**
 * The in-process tier under LORA_STORE_GUARD=1: it sums up the bytes of an entry when it takes it and again each time it
 * is used. Weights are shared with all who loaded them, and read-only by type; code that writes to them all the same is
 * named, and what it wrote to is dropped, so that the next load is right. Costs about 4 µs a hit at the default shape.
 */
import { crc32c } from '../adapter/codec.js';
import type { AdapterRecord } from '../adapter/record.js';
import { type Key, keyOf } from '../coherence/key.js';
import { SharedWeightsError } from '../errors.js';
import type { Entry } from './entry.js';
import { MemoryTier } from './memory.js';

export class GuardedMemoryTier extends MemoryTier {
  /** By record, which an entry keeps however often it is verified. */
  readonly #sums = new WeakMap<AdapterRecord, number>();
  readonly #written: (error: SharedWeightsError) => void;

  constructor(maxBytes: number, written: (error: SharedWeightsError) => void) {
    super(maxBytes);
    this.#written = written;
  }

  /** Throws SharedWeightsError once, and then there is no such entry. */
  override get(userId: string, adapterName: string): Entry | undefined {
    const entry = super.get(userId, adapterName);
    const record = entry?.record;
    if (record === undefined || crc32c(record.bytes) === this.#sums.get(record)) return entry;
    this.dropBelow(keyOf(userId, adapterName), Number.POSITIVE_INFINITY);
    const error = new SharedWeightsError(userId, adapterName);
    this.#written(error);
    throw error;
  }

  override put(key: Key, entry: Entry): Entry | undefined {
    const { record } = entry;
    if (record !== undefined && !this.#sums.has(record)) this.#sums.set(record, crc32c(record.bytes));
    return super.put(key, entry);
  }
}
