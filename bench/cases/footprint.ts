/** How much larger than its adapters the process is that keeps them. */
import assert from 'node:assert/strict';
import { startChild } from '../../test/support/processes.js';
import type { Bench, Case } from '../harness/bench.js';
import { populate } from '../harness/population.js';
import type { Size } from '../system/cache.js';

const SHARES = ['RSS', 'buffers', 'V8 heap'] as const;
const TARGET_AT = 5_000;

export default {
  question: 'How much memory does a cached adapter take?',
  async run(bench) {
    // 50,000 are 2 GB, here and in the database.
    const counts = bench.quick ? [1_000, TARGET_AT] : [1_000, TARGET_AT, 50_000];
    const most = Math.max(...counts);
    const { url } = await bench.servers.postgres({ max_wal_size: '8GB' });
    bench.doing(`writing ${most.toLocaleString('en-US')} adapters`);
    await populate(url, { count: most });
    const child = await startChild(new URL('../system/cache.js', import.meta.url));
    try {
      const empty = await child.call<Size>('open', url, 2 ** 40, 1_000);
      const sizes: Size[] = [];
      for (const count of counts) {
        bench.doing(`caching ${count.toLocaleString('en-US')} adapters`);
        const size = await child.call<Size>('fill', sizes.at(-1)?.entries ?? 0, count);
        assert.equal(size.entries, count, 'all that was loaded is cached');
        sizes.push(size);
      }
      await child.call('close');
      report(bench, empty, sizes);
    } finally {
      await child.kill();
    }
  },
} satisfies Case;

function report(bench: Bench, empty: Size, sizes: readonly Size[]): void {
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
  const measured = sizes.find(({ entries }) => entries === TARGET_AT) as Size;
  const each = (bytes: number) => Math.round(bytes / measured.entries).toLocaleString('en-US');
  bench.target(
    'RSS per cached adapter / its bytes, at 5,000 entries',
    '<=',
    1.1,
    perByte(measured, 'rss'),
    `of ${each(measured.rss - empty.rss)} bytes, ${each(measured.arrayBuffers - empty.arrayBuffers)} are buffers and ${each(measured.heapUsed - empty.heapUsed)} are on V8's heap`,
  );
  bench.note(
    'One process, before the first entry (after 1,000 loads into no cache) and after collections; what the allocator does not give back counts.',
  );
  if (bench.quick) bench.note('A --quick run leaves out 50,000 entries: 2 GB twice.');
}
