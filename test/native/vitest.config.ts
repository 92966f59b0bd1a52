/** test/adapter on an addon with the sanitizers in it, which test/native/main.ts puts in place: no servers, nothing skipped. */
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/adapter/**/*.test.ts'],
    // Holds a process to its size, and a sanitizer keeps what was freed.
    exclude: ['test/adapter/memory.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    retry: 0,
    allowOnly: false,
  },
});
