/**
 * Why a target is short, where that is known: what a profile, or a run with one thing left out, has shown. Of the others
 * nobody knows yet, and they are not here. Figures are of AMD EPYC (Zen 5, a guest), Node 20, Postgres 15; docs/native.md
 * has those about memory.
 */
import type { TargetResult } from './harness/results.js';

const MEMORY =
  'Rust writes into memory that it has just freed, 8 µs a record here (12.6 built as one codegen unit without LTO, near the 13 that the ' +
  'bound was set by). Fresh memory is most of what Node pays: a plain copy of the record takes 2.0 to 2.9 µs, 0.3 into a warm buffer. A pool saves ' +
  'nothing at p50; slabs save a tenth to a half, depending on what runs beside them (docs/native.md), and would pin or expose neighbours.';

/** By the target's words. */
const explanations: Readonly<Record<string, string>> = {
  'decode checked / Rust bincode unchecked': MEMORY,
  'decode with checksum / Rust bincode unchecked': MEMORY,
  'encode / Rust bincode serialize':
    'The same: Rust takes 5.8 µs into memory that it has just freed. A plain copy into fresh memory is half of that, and what ' +
    'encode itself does takes 0.8 µs into a warm buffer.',
  'peekAdapter / lru-cache get with a key string built beforehand':
    'It reads the clock, since a node that was stopped and continued must not serve what it holds: 40 to 110 ns on this ' +
    'guest’s clock, more than a whole get of lru-cache, which reads none without a TTL.',
  'Redis hit / bare ioredis getBuffer, p50':
    'getBuffer ends with the bytes. Decoding them into memory of their own takes 4 to 10 µs of 65, the budget’s timer and the ' +
    'breaker 2 each, and the promises of a flight that others may join the rest: with all of them taken out, decoding alone is 1.1.',
  'Redis hit / bare ioredis getBuffer, p99':
    'A load leaves two buffers, the reply and the record, where getBuffer leaves one, and V8 counts both: it marks and compacts ' +
    'once in 250 loads (once in 800 of getBuffer; node --trace-gc), 3 to 16 ms in all, in up to 40 steps between loads, so that ' +
    'more than one load in a hundred meets a step.',
  'Redis hit / BentoCache L2 hit, p50':
    'Both wait for the same reply, which takes bare getBuffer 60 µs here and BentoCache 128 in all: half of that would leave 4 µs ' +
    'for the checks, the copy and the joining of flights.',
  'Postgres load / bare pg (hex), p50':
    'Half the bytes, but the statement also reads the head and the snapshot, and one of our own timers, a breaker and the ' +
    'flight stand around it: 171 µs against 144 for the plain SELECT on the same client, and 25 to 35 more in this process.',
  'load latency at 1 million rows / at 1 thousand':
    'Each of the two indexes is a level deeper, 8 blocks a load against 6 (EXPLAIN (ANALYZE, BUFFERS)), and among a million rows ' +
    'no CPU cache holds them: the statement takes 0.11 ms in the server against 0.04, all of it found in shared_buffers.',
  'save through all tiers / bare INSERT of the same bytes, p50':
    'The statement alone is 1.4 to 1.5 of the INSERT (1.27 without triggers): it locks the user, moves the head and tells of it. ' +
    'Saves that follow each other at once also wait for what the one before does behind its back: encoding for Redis, ' +
    'the write, the message, and hearing of it twice.',
};

/** The target, and why it is short: by what is known now, or else by what the case said when it ran. */
export function explained(target: TargetResult): TargetResult {
  const why = target.met === false ? (explanations[target.what] ?? target.why) : target.why;
  return why === undefined ? target : { ...target, why };
}
