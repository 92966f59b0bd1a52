/**
 * What other memory than a fresh ArrayBuffer would save a decode: a slab that records share, or a pool of blocks that come
 * back. A pool's come back after a turn of the event loop, so all sides take one, as loads do.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { root } from '../../test/support/root.js';
import type { Case } from '../harness/bench.js';
import { loadPool } from '../harness/pool.js';
import type { Side } from '../harness/side.js';

const FILE = join(root, 'test/fixtures/bincode/seed-8x512-768.bin');
/** A turn: what a slab saves depends on how many blocks the collector frees at once. */
const COPIES = [1, 10, 100];
const SLABS = [3, 8, 16];
const FRESH = 'fresh memory';

export default {
  question: 'Would memory that is used again make a decode faster?',
  async run(bench) {
    const bytes = readFileSync(FILE);
    bench.doing('compiling the pool');
    const pool = await loadPool();
    if (typeof pool === 'string') bench.note(`Without a pool: ${pool}.`);
    const warm = Buffer.alloc(bytes.length);
    const ways: [name: string, copy: () => Buffer][] = [
      [FRESH, () => copied(bytes, Buffer.allocUnsafeSlow(bytes.length))],
      ...SLABS.map((records): [string, () => Buffer] => [`slab of ${records}`, slabOf(records, bytes)]),
      ...(typeof pool === 'string' ? [] : [['pool', () => Buffer.from(pool.copy(bytes))] as [string, () => Buffer]]),
      ['one warm buffer', () => copied(bytes, warm)],
    ];
    const counts = bench.quick ? [10] : COPIES;
    for (const copies of counts) {
      const named = (name: string) => `${name}, ${copies} a turn`;
      const sides = ways.map(([name, copy]) => side(named(name), bytes, copies, copy));
      const seconds = (0.9 * bench.seconds) / counts.length;
      const { ratio } = await bench.compare({ group: `${copies} copies and a turn`, sides, seconds });
      for (const [name] of ways.slice(1)) {
        ratio(named(name), named(FRESH));
        ratio(named(name), named(FRESH), 'mean');
      }
    }
    if (typeof pool !== 'string') bench.note(`The pool grew to ${pool.blocks().toLocaleString('en-US')} blocks.`);
  },
} satisfies Case;

function side(name: string, bytes: Buffer, count: number, copy: () => Buffer): Side {
  const copies: Buffer[] = [];
  return {
    name,
    async run() {
      for (let i = 0; i < count; i++) copies[i] = copy();
      await turn();
      return copies;
    },
    check: (answer: Buffer[]) => {
      assert.equal(answer.length, count);
      for (const copy of answer) assert.deepEqual(copy, bytes);
    },
  };
}

function copied(bytes: Buffer, target: Buffer): Buffer {
  target.set(bytes);
  return target;
}

function slabOf(records: number, bytes: Buffer): () => Buffer {
  const stride = Math.ceil(bytes.length / 64) * 64;
  let slab = Buffer.alloc(0);
  let at = records * stride;
  return () => {
    if (at === records * stride) {
      slab = Buffer.allocUnsafeSlow(records * stride);
      at = 0;
    }
    at += stride;
    return copied(bytes, slab.subarray(at - stride, at - stride + bytes.length));
  };
}
