/** npm run chaos: a run on this machine with servers of its own, and its table. Ends with 1 where a promise was broken. */
import { randomBytes } from 'node:crypto';
import { chmodSync } from 'node:fs';
import { Command, InvalidArgumentError } from 'commander';
import { noServer, ownServers, type Refusal } from '../support/servers/choices.js';
import { removeContainersOf } from '../support/servers/containers.js';
import { Daemon } from '../support/servers/daemon.js';
import { findPostgresServer, findRedisServer } from '../support/servers/recipes.js';
import { dump, table } from './report.js';
import { runChaos } from './run.js';

export async function main(argv: readonly string[]): Promise<void> {
  const command = new Command('chaos')
    .option('--minutes <number>', 'how long', positive, 2)
    .option('--seed <number>', 'which plan', positive, Math.floor(Math.random() * 1e6) + 1)
    .option('--break <way>', 'break every node in a way of broken.mjs, to see the checker notice')
    .option('--keep', 'write the history to .cache/chaos also where nothing was violated')
    .parse([...argv]);
  type Options = { minutes: number; seed: number; break?: string; keep?: boolean };
  const { minutes, seed, break: broken, keep } = command.opts<Options>();
  process.stdout.write(`npm run chaos -- --minutes ${minutes} --seed ${seed}\n`);

  const scratch = new Daemon('chaos');
  chmodSync(scratch.home, 0o755);
  const run = { name: randomBytes(4).toString('hex'), scratch: scratch.home, env: process.env };
  const refusals: Refusal[] = [];
  const postgres = await findPostgresServer(ownServers.postgres, run, refusals);
  const redis = await findRedisServer(ownServers.redis, run, refusals);
  try {
    if (postgres === undefined) throw noServer('Postgres', refusals);
    if (redis === undefined) throw noServer('Redis', refusals);
    const servers = { postgres: postgres.server, redis: redis.server };
    const progress = (what: string) => process.stderr.write(`${new Date().toISOString()} ${what}\n`);
    const result = await runChaos(servers, { seed, durationMs: minutes * 60_000, broken, progress });
    process.stdout.write(`${table(result)}\n`);
    const violated = result.verdict.violations.length > 0;
    if (violated || keep) process.stdout.write(`The history is in ${dump(result)}\n`);
    if (violated) process.exitCode = 1;
  } finally {
    await Promise.all([postgres?.server.stop(), redis?.server.stop()]);
    if ([postgres, redis].some((found) => found?.recipe.kind === 'container')) await removeContainersOf(run.name);
    await scratch.stop();
  }
}

function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError('a number above 0.');
  return value;
}
