/** One chaos run over servers that are its own: the cluster, the callers and the faults together, then the verdict. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { migrate } from '../../src/postgres/migrate.js';
import { type Bounds, check, type Verdict } from './checker.js';
import { budgets, startCluster } from './cluster.js';
import { Faults, type Servers } from './faults.js';
import { openForeignWriters } from './foreign.js';
import { emptyHistory, type History, now } from './history.js';
import { openLedger, readLedger } from './ledger.js';
import { seeded } from './random.js';
import { CLOCK_MS } from './timeline.js';
import { Workload } from './workload.js';

export interface ChaosOptions {
  readonly seed: number;
  readonly durationMs: number;
  /** A way of broken.mjs in which every node is broken. */
  readonly broken?: string | undefined;
  /** Told what begins. */
  readonly progress?: (what: string) => void;
}

export interface ChaosResult {
  readonly seed: number;
  readonly durationMs: number;
  readonly nodes: readonly string[];
  readonly history: History;
  readonly verdict: Verdict;
}

/**
 * The bound is counted from the begin of a read, on one clock, and a node that was stopped meanwhile has lost its lease:
 * no scheduling is in it. The slack is for the rounding of stamps and for the few instructions between them.
 */
export const bounds: Bounds = { ...budgets, slackMs: 20 };

const USERS = 6;
const CALLERS = 3;
const STRANGERS = 2;

export async function runChaos(servers: Servers, options: ChaosOptions): Promise<ChaosResult> {
  const { seed, durationMs, broken, progress = () => undefined } = options;
  const urls = { postgres: servers.postgres.url, redis: servers.redis.url };
  const users = Array.from({ length: USERS }, () => randomUUID());
  const history = emptyHistory(users.flatMap((userId) => ['default', 'second'].map((name) => ({ userId, name }))));
  await migrate({ postgres: urls.postgres });
  await openLedger(urls.postgres, history.keys);
  const cluster = await startCluster(urls, seeded(seed), broken);
  const strangers = Array.from({ length: STRANGERS }, (_, i) => openForeignWriters(urls.postgres, `foreign-${i}`));
  const clockOffset = serverClockOffset();
  try {
    progress('four nodes are open');
    const until = now() + durationMs;
    const workload = new Workload(history);
    const faults = new Faults(cluster, servers, seeded(seed + 1), history);
    await Promise.all([
      faults.run(until),
      ...cluster.nodes.flatMap((node, n) =>
        Array.from({ length: CALLERS }, (_, i) => workload.call(node, seeded(seed * 1000 + n * 10 + i), until)),
      ),
      ...strangers.map((foreign, i) => workload.strangers(foreign, seeded(seed * 1000 + 500 + i), until)),
    ]);
    progress('everything is healed');
    // Past the bound every answer has to be the latest.
    await sleep(bounds.maxStalenessMs + bounds.slackMs + 100);
    await workload.lastWord(cluster, 20_000);
    progress('everybody has had the last word');
  } finally {
    await Promise.all(strangers.map((foreign) => foreign.close()));
    await cluster.stop();
  }
  const drift = Math.abs(serverClockOffset() - clockOffset);
  if (drift > CLOCK_MS) throw new Error(`the clock of this machine was set by ${drift} ms during the run`);
  await readLedger(urls.postgres, history, clockOffset);
  progress('the history is judged');
  const nodes = cluster.nodes.map(({ name }) => name);
  return { seed, durationMs, nodes, history, verdict: check(history, bounds) };
}

/** What to take from the clock that Postgres reads to get at `now()`. Date.now() rounds down: the largest of many is right. */
function serverClockOffset(): number {
  let offset = Number.NEGATIVE_INFINITY;
  for (const until = now() + 5; now() < until; ) offset = Math.max(offset, Date.now() - now());
  return offset;
}
