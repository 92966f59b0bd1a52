/** Chaos runs of vitest: over servers that are the test's own and end with it. */
import { startPostgres } from '../support/postgres.js';
import { startRedis } from '../support/redis.js';
import { dump, table } from './report.js';
import { type ChaosOptions, type ChaosResult, runChaos } from './run.js';

/** The run, with its table on the terminal and, where something was violated, its history in a directory. */
export async function chaos(options: ChaosOptions): Promise<ChaosResult> {
  const [postgres, redis] = await Promise.all([startPostgres(), startRedis()]);
  try {
    const result = await runChaos({ postgres, redis }, options);
    const violated = result.verdict.violations.length > 0 && options.broken === undefined;
    process.stderr.write(`${table(result)}\n${violated ? `The history is in ${dump(result)}\n` : ''}`);
    return result;
  } finally {
    await Promise.all([postgres.stop(), redis.stop()]);
  }
}
