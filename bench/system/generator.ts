/**
 * An open-loop generator, a process of its own: requests arrive when a Poisson process of a fixed rate says, whether or not
 * earlier ones were answered. Each goes to standard output with the moment at which it should start, from which the node
 * counts its latency: if the node stalls, or this process is late, all that had to wait shows it.
 *
 * Synchronous on purpose: a timer of the event loop is a millisecond wide, a futex some fifty microseconds.
 */
import { writeSync } from 'node:fs';
import { seeded } from '../../test/support/random.js';
import { type Arrivals, FRAME_BYTES, writeFrame } from './arrivals.js';
import { draws, sharedNow } from './demand.js';

const FRAMES = 1024;
/** Shorter sleeps would end later than that anyway. */
const SHORTEST_SLEEP_MS = 0.05;
/** For the node to be there. */
const HEAD_START_US = 50_000;

generate(JSON.parse(process.argv[2] as string) as Arrivals);

function generate({ perSecond, seconds, ...demand }: Arrivals): void {
  const next = draws(demand);
  const random = seeded(demand.seed + 1);
  const gap = () => (-Math.log1p(-random()) * 1e6) / perSecond;
  const frames = Buffer.alloc(FRAMES * FRAME_BYTES);
  const begin = sharedNow() + HEAD_START_US;
  const end = begin + seconds * 1e6;
  for (let due = begin + gap(); due < end; ) {
    let used = 0;
    for (const now = sharedNow(); due <= now && due < end && used < frames.length; due += gap()) {
      const { operation, user } = next();
      writeFrame(frames, used, due, operation, user);
      used += FRAME_BYTES;
    }
    writeAll(frames.subarray(0, used));
    sleep((Math.min(due, end) - sharedNow()) / 1000);
  }
}

/** Where the node does not read, the schedule waits with all its starts. */
function writeAll(bytes: Buffer): void {
  for (let written = 0; written < bytes.length; ) {
    try {
      written += writeSync(1, bytes, written);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      sleep(SHORTEST_SLEEP_MS);
    }
  }
}

function sleep(milliseconds: number): void {
  const cell = new Int32Array(new SharedArrayBuffer(4));
  if (milliseconds > 0) Atomics.wait(cell, 0, 0, Math.max(SHORTEST_SLEEP_MS, milliseconds));
}
