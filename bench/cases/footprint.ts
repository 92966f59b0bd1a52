/** How much larger than its adapters the process is that keeps them. */
import assert from 'node:assert/strict';
import { encodeAdapter, UserLoRAAdapter } from 'lora-store';
import { startChild } from '../../test/support/processes.js';
import type { Bench, Case } from '../harness/bench.js';
import { populate, userAt } from '../harness/population.js';
import type { Size } from '../system/cache.js';

const CACHE = new URL('../system/cache.js', import.meta.url);
const BODY_BYTES = encodeAdapter(new UserLoRAAdapter(userAt(0))).length;
const SHARES = ['RSS', 'buffers', 'V8 heap'] as const;
/** Loads into no cache. */
const WARM_UP = 200;
const FEW = 1_000;
const TARGET_AT = 5_000;

export default {
  question: 'How much memory does a cached adapter take?',
  async run(bench) {
    // 50,000 are 2 GB, here and in the database.
    const counts = bench.quick ? [FEW, TARGET_AT] : [FEW, TARGET_AT, 50_000];
    const most = Math.max(...counts);
    const { url } = await bench.servers.postgres({ max_wal_size: '8GB' });
    bench.doing(`writing ${inWords(most)}`);
    await populate(url, { count: most });
    const alone = await leastOf();
    const child = await startChild(CACHE);
    try {
      const empty = await child.call<Size>('open', url, 2 ** 40, WARM_UP);
      const sizes: Size[] = [];
      for (const count of counts) {
        bench.doing(`caching ${inWords(count)}`);
        const size = await child.call<Size>('fill', sizes.at(-1)?.entries ?? 0, count);
        assert.equal(size.entries, count, 'all that was loaded is cached');
        sizes.push(size);
      }
      await child.call('close');
      report(bench, empty, sizes, alone);
    } finally {
      await child.kill();
    }
  },
} satisfies Case;

/** In a process of its own: what it frees would be used again. */
async function leastOf(): Promise<number> {
  const child = await startChild(CACHE);
  try {
    return await child.call<number>('allocate', FEW, BODY_BYTES);
  } finally {
    await child.kill();
  }
}

function report(bench: Bench, empty: Size, sizes: readonly Size[], alone: number): void {
  const perByte = (size: Size, of: 'rss' | 'arrayBuffers' | 'heapUsed') => (size[of] - empty[of]) / size.bytes;
  const fields = { RSS: 'rss', buffers: 'arrayBuffers', 'V8 heap': 'heapUsed' } as const;
  bench.curve({
    name: 'Memory per cached adapter',
    x: { label: 'cached adapters', scale: 'log' },
    y: { label: 'times its bytes', scale: 'linear' },
    series: SHARES.map((share) => ({
      name: share,
      points: sizes.map((size) => [size.entries, perByte(size, fields[share])] as const),
    })),
  });
  const [few, many] = [FEW, TARGET_AT].map((count) => sizes.find(({ entries }) => entries === count)) as [Size, Size];
  const grown = (of: keyof Size) => many[of] - few[of];
  const each = (of: keyof Size) => Math.round(grown(of) / grown('entries')).toLocaleString('en-US');
  bench.target(
    'RSS per cached adapter / its bytes, at 5,000 entries',
    '<=',
    1.1,
    grown('rss') / grown('bytes'),
    `of ${each('rss')} bytes, ${each('arrayBuffers')} are buffers and ${each('heapUsed')} are on V8's heap; the rest is the allocator's`,
  );
  bench.note(
    `The target takes what the process grew from ${inWords(FEW)} to ${inWords(TARGET_AT)}: before that, it fills holes that starting left in its heaps, and compiles.`,
  );
  bench.note(
    `RSS after collections; what the allocator does not give back counts. ${inWords(FEW)} allocated with nothing between them take ${alone.toFixed(2)} times their bytes.`,
  );
  if (bench.quick) bench.note('A --quick run leaves out 50,000 entries: 2 GB twice.');
}

function inWords(count: number): string {
  return `${count.toLocaleString('en-US')} adapters`;
}
