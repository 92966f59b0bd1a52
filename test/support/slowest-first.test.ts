/** The order in which test files start. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { TestSpecification, Vitest } from 'vitest/node';
import { root } from './root.js';
import { SlowestFirst, slowest } from './slowest-first.js';

test('the slowest are files that there are', () => {
  expect(slowest.filter((name) => !existsSync(join(root, name)))).toEqual([]);
});

test('they start before all others, the slowest of them first, whatever was measured before', async () => {
  const cache = { getFileTestResults: () => undefined, getFileStats: () => undefined };
  const config = { root, isolate: true, sequence: { groupOrder: 0 } };
  const sequencer = new SlowestFirst({ config, cache } as unknown as Vitest);
  const names = ['test/a.test.ts', ...slowest.toReversed(), 'test/b.test.ts'];
  const project = { name: '', config };
  const files = names.map((name) => ({ moduleId: join(root, name), project })) as unknown as TestSpecification[];
  const sorted = await sequencer.sort(files);
  expect(sorted.map(({ moduleId }) => moduleId.slice(root.length).replace(/^\//, ''))).toEqual([
    ...slowest,
    'test/a.test.ts',
    'test/b.test.ts',
  ]);
});
