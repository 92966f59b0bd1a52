/**
 * What a call allocates on JavaScript's heap: how much the heap grows over calls between which nothing is collected. The
 * smallest of several looks, because whatever else runs here allocates too.
 */
import { setImmediate as turn } from 'node:timers/promises';
import type { LocalSide } from './side.js';

const CALLS = 5000;
const LOOKS = 7;

/** undefined: --expose-gc was not given. Call it when the side is warm: what is not compiled allocates more. */
export async function heapBytesOf({ run }: LocalSide): Promise<number | undefined> {
  if (globalThis.gc === undefined) return undefined;
  let least = Number.POSITIVE_INFINITY;
  for (let look = 0; look < LOOKS; look++) {
    globalThis.gc();
    // Let heartbeats in.
    await turn();
    const before = process.memoryUsage().heapUsed;
    for (let i = 0; i < CALLS; i++) await run();
    const grown = process.memoryUsage().heapUsed - before;
    if (grown >= 0) least = Math.min(least, grown / CALLS);
  }
  return least;
}
