/** How the tests run: real servers for all of them (test/support/global-setup.ts), nothing skipped, nothing retried. */
import { defineConfig } from 'vitest/config';
import { SlowestFirst } from './test/support/slowest-first.js';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    pool: 'forks',
    maxWorkers: 2,
    sequence: { sequencer: SlowestFirst },
    // Generous: on a busy machine a server takes its time to start. A wait that is in vain says so itself, and sooner.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    teardownTimeout: 60_000,
    retry: 0,
    allowOnly: false,
    // .ci/run reads the report.
    reporters: ['default', ['json', { outputFile: '.cache/test-report.json' }]],
    coverage: {
      enabled: process.env.CI === 'true',
      provider: 'v8',
      include: ['src/**/*.ts'],
      reporter: ['text-summary', 'json'],
      reportsDirectory: 'coverage',
    },
  },
});
