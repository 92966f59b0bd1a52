/**
 * What a call allocates on JavaScript's heap: how much the heap grows over calls between which nothing is collected. The
 * smallest of several looks, because whatever else runs here allocates too.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { isPromise } from 'node:util/types';
import { getHeapStatistics } from 'node:v8';
import type { LocalSide } from './side.js';

const CALLS = 2000;
const LOOKS = 5;

/** undefined: --expose-gc was not given. Call it when the side is warm: what is not compiled allocates more. */
export async function heapBytesOf({ run }: LocalSide): Promise<number | undefined> {
  if (globalThis.gc === undefined) return undefined;
  const promises = isPromise(await run());
  let least = Number.POSITIVE_INFINITY;
  for (let look = 0; look < LOOKS; look++) {
    globalThis.gc();
    // Let heartbeats in.
    await turn();
    const before = used();
    if (promises) for (let i = 0; i < CALLS; i++) await run();
    else for (let i = 0; i < CALLS; i++) run();
    const grown = used() - before;
    if (grown >= 0) least = Math.min(least, grown / CALLS);
  }
  return Number.isFinite(least) ? least : undefined;
}

function used(): number {
  return getHeapStatistics().used_heap_size;
}
