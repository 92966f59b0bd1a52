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
const COPIES = 10;
const FRESH = 'fresh memory';
const POOL = 'pool';

export default {
  question: 'Would memory that is used again make a decode faster?',
  async run(bench) {
    const bytes = readFileSync(FILE);
    bench.doing('compiling the pool');
    const pool = await loadPool();
    const warm = Buffer.alloc(bytes.length);
    const sides = [
      side(FRESH, bytes, () => copied(bytes, Buffer.allocUnsafeSlow(bytes.length))),
      // Three are what glibc takes from its heap; more of them come from the system, page by page.
      ...[3, 16].map((records) => side(`slab of ${records}`, bytes, slabOf(records, bytes))),
      side('one warm buffer', bytes, () => copied(bytes, warm)),
    ];
    if (typeof pool === 'string') bench.note(`Without a pool: ${pool}.`);
    else
      sides.splice(
        3,
        0,
        side(POOL, bytes, () => Buffer.from(pool.copy(bytes))),
      );
    const { ratio } = await bench.compare({
      group: `${COPIES} copies and a turn`,
      sides,
      seconds: 0.9 * bench.seconds,
    });
    for (const { name } of sides.slice(1)) {
      ratio(name, FRESH);
      ratio(name, FRESH, 'mean');
    }
    if (typeof pool !== 'string') bench.note(`The pool grew to ${pool.blocks().toLocaleString('en-US')} blocks.`);
  },
} satisfies Case;

function side(name: string, bytes: Buffer, copy: () => Buffer): Side {
  const copies: Buffer[] = [];
  return {
    name,
    async run() {
      for (let i = 0; i < COPIES; i++) copies[i] = copy();
      await turn();
      return copies;
    },
    check: (answer: Buffer[]) => {
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
