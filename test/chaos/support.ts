/** Chaos runs of vitest: over servers that are the test's own and end with it. */
import { type OwnServer, startPostgres } from '../support/postgres.js';
import { startRedis } from '../support/redis.js';
import { allStarted } from '../support/servers/together.js';
import { dump, table } from './report.js';
import { type ChaosOptions, type ChaosResult, runChaos } from './run.js';

/** The run, with its table on the terminal and, where something was violated, its history in a directory. */
export async function chaos(options: ChaosOptions): Promise<ChaosResult> {
  const servers = await allStarted([startPostgres(), startRedis()]);
  const [postgres, redis] = servers as [OwnServer, OwnServer];
  try {
    const result = await runChaos({ postgres, redis }, options);
    const violated = result.verdict.violations.length > 0 && options.broken === undefined;
    process.stderr.write(`${table(result)}\n${violated ? `The history is in ${dump(result)}\n` : ''}`);
    return result;
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
  }
}
