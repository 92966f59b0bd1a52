/**
 * The order in which test files start: the longest first, since two workers end together only where the last files are
 * short ones. Vitest orders by what it measured before, and a clean clone has measured nothing.
 */
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Those that take more than a quarter of a minute, the longest first. */
export const slowest = [
  'test/package/prebuilt.test.ts',
  'test/chaos/chaos.test.ts',
  'test/coherence/walk.test.ts',
  'test/storage/faults/redis-cluster.test.ts',
  'test/chaos/broken.test.ts',
  'test/docs/blocks.test.ts',
  'test/cli/export-interrupted.test.ts',
  'test/cli/export-import.test.ts',
  'test/storage/faults/redis-sentinel.test.ts',
  'test/coherence/bus-cluster.test.ts',
  'test/examples/live/page.test.ts',
];

export class SlowestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification) => {
      const found = slowest.findIndex((name) => moduleId.endsWith(`/${name}`));
      return found === -1 ? slowest.length : found;
    };
    return (await super.sort(files)).sort((a, b) => place(a) - place(b));
  }
}
