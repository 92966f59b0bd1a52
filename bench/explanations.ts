/**
 * Why a target is short, where that is known: what a profile, or a run with one thing left out, has shown. Of the others
 * nobody knows yet, and they are not here. Figures are of the machine of results/reference.json (Sapphire Rapids, a guest of
 * two cores), Node 20, Postgres 15; docs/native.md has those about memory.
 */
import type { TargetResult } from './harness/results.js';

const MEMORY =
  'Rust writes into memory that it has just freed, which is in a cache. V8 uses memory again when some 30 MB more were allocated, ' +
  'and how long that takes is the host’s: a plain copy of the record took 2.4 to 3.9 µs from run to run of one day, 0.30 to 0.47 of Rust’s ' +
  'decode (0.9 into a warm buffer), decode 0.40 to 0.68 and encode 0.65 to 1.03. In slabs, timed in the codec itself, they take a tenth to a ' +
  'fifth less (docs/native.md), and an adapter would be kept, or transferred to a worker, together with its neighbours.';

/** By the target's words. */
const explanations: Readonly<Record<string, string>> = {
  'decode checked / Rust bincode unchecked': MEMORY,
  'decode with checksum / Rust bincode unchecked': MEMORY,
  'encode / Rust bincode serialize': MEMORY,
  'peekAdapter / lru-cache get with a key string built beforehand':
    'It reads the clock, since a node that was stopped and continued must not serve what it holds: 30 ns here by whatever name ' +
    '(performance.now, hrtime, Date.now), more than a whole get of lru-cache, which reads none without a TTL. The rest are two ' +
    'more maps, so that no key is joined, and the object that is handed out.',
  'Redis hit / bare ioredis getBuffer, p50':
    'getBuffer ends with the bytes. Looking at all of them takes 0.7 µs, the timer and the breaker 2, and functions that run ' +
    'once a round trip, out of cold caches, the rest of 8 µs.',
  'Redis hit / bare ioredis getBuffer, p99':
    'V8 marks and compacts once in 700 to 1,200 loads, as often as for getBuffer since a reply is not copied any more. One slice ' +
    'has a collection in its tail and its neighbour none, so the ratio goes from 1.2 to 9 between rounds. Of 20,000 calls in a row the ' +
    'p99 is 0.5 to 0.8 ms, against 0.1 to 0.7.',
  'Redis hit / BentoCache L2 hit, p50': 'Both wait for the same reply: more than half of what BentoCache takes in all.',
  'Postgres load / bare pg (hex), p50':
    'Half the bytes, but the statement also reads the head and the snapshot (15 µs in the server), and a timer, a breaker, the check of the ' +
    'sum and the flight stand around it: 145 µs for the statement on the same client, 160 through the tier, 170 in all.',
  'Postgres load / libpq C client with binary results, p50':
    'The C program waits in recv, and gets the plain row in 85 µs. A plain row through a pool of ours takes 130, the load’s statement 145.',
  'Postgres loads per second / bare pg (hex), 8 connections':
    'Two cores are full with either: a load takes 86 to 104 µs of Node’s CPU and 73 of Postgres’, one in hex 122 and 132, which makes 1.4 ' +
    'to 1.6. On two cores of a Zen 5 it was 2.25.',
  'load latency at 1 million rows / at 1 thousand':
    'On a Zen 5, where it was 1.54: each of the two indexes is a level deeper, 8 blocks a load against 6 (EXPLAIN (ANALYZE, BUFFERS)), and among a million rows ' +
    'no CPU cache holds them: the statement takes 0.11 ms in the server against 0.04, all of it found in shared_buffers.',
  'RSS per cached adapter / its bytes, at 5,000 entries':
    'Between 1.06 and 1.12 from run to run here, 1.03 on a Zen 5: 41,215 bytes are buffers, 1,384 are on V8’s heap, and the rest lies ' +
    'between them in malloc’s.',
  'save through all tiers / bare INSERT of the same bytes, p50':
    'A commit that waits for no disk (fsync is off) leaves the statement bare: 1.8 of the INSERT, 1.3 without triggers, since it locks the ' +
    'user, moves the head and tells of it. With fsync on, on this disk, statement and save were 1.5 and 1.7 of it without Redis, 2.1 with: saves that ' +
    'follow each other at once also wait for what the one before does behind its back (encoding for Redis, the write, the message, and ' +
    'hearing of it twice); three milliseconds apart they take the same with Redis and without.',
};

/** The target, and why it is short: by what is known now, or else by what the case said when it ran. */
export function explained(target: TargetResult): TargetResult {
  const why = target.met === false ? (explanations[target.what] ?? target.why) : target.why;
  return why === undefined ? target : { ...target, why };
}
