/** Loading ahead of the first question: many adapters into the caches, at a pace that leaves the servers to the others. */
import type { Key } from '../coherence/key.js';
import { AdapterCorruptError, InvalidAdapterError } from '../errors.js';
import type { Loaded } from './begun.js';
import { DEFAULT_NAME, parseKey } from './input.js';
import { Pace } from './pace.js';
import type { AdapterKey } from './types.js';

export interface WarmOptions {
  /** Aborted: the batch under way ends, and no more is begun. */
  signal?: AbortSignal;
  /** The most adapters a second. Default: no bound. */
  perSecond?: number;
  /** Called after each batch, with what came of all so far. */
  onProgress?: (sofar: Warmed) => void;
}

export interface Warmed {
  /** In the caches now, if there was room. */
  readonly loaded: number;
  /** There are no such adapters. */
  readonly absent: number;
  /** Their bytes are bad; each was reported as a `corrupt` event. */
  readonly failed: number;
}

/** One round trip for so many; and what is in flight of them stays a few megabytes. */
const BATCH = 32;

export async function warm(
  keys: Iterable<AdapterKey> | AsyncIterable<AdapterKey>,
  load: (keys: readonly Key[]) => Promise<readonly (Loaded | AdapterCorruptError)[]>,
  { signal, perSecond, onProgress }: WarmOptions,
): Promise<Warmed> {
  const pace = new Pace(perSecond);
  const sofar = { loaded: 0, absent: 0, failed: 0 };
  const next = async (batch: readonly Key[]) => {
    await pace.admit(batch.length, signal);
    for (const answer of await load(batch)) {
      if (answer instanceof AdapterCorruptError) sofar.failed++;
      else sofar[answer.entry.record === undefined ? 'absent' : 'loaded']++;
    }
    onProgress?.({ ...sofar });
  };
  const size = Math.min(BATCH, Math.floor(pace.burst));
  let batch: Key[] = [];
  for await (const { userId, adapterName = DEFAULT_NAME } of iterable(keys)) {
    batch.push(parseKey(userId, adapterName));
    if (batch.length < size) continue;
    await next(batch);
    batch = [];
  }
  if (batch.length > 0) await next(batch);
  return sofar;
}

function iterable<T>(keys: Iterable<T> | AsyncIterable<T>): Iterable<T> | AsyncIterable<T> {
  const given: unknown = keys;
  if (typeof given === 'object' && given !== null && (Symbol.iterator in given || Symbol.asyncIterator in given)) {
    return keys;
  }
  throw new InvalidAdapterError('the keys to warm are an array, or another iterable, of { userId, adapterName }');
}
