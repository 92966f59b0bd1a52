/** The read replicas of options.postgres, with budgets of their own: a load that one does not answer goes on to the primary. */
import type { Coherence } from '../coherence/head.js';
import type { ResolvedOptions } from '../options.js';
import { Database } from '../postgres/database.js';
import { Replica } from '../tiers/replica.js';
import { Replicas } from '../tiers/replicas.js';
import type { Events } from './events.js';

/** Of postgresTimeoutMs, what a replica may take of it: the primary has to be asked as well. */
const SHARE = 1 / 3;

interface Report {
  readonly degraded: (cause: Error) => void;
  readonly recovered: (afterMs: number) => void;
}

/** report: made anew for each, so that the return of one is not taken for that of another. */
export function openReplicas(
  { postgres, postgresTimeoutMs, maxQueue }: ResolvedOptions,
  coherence: Coherence,
  events: Events,
  report: () => Report,
  primary: () => Promise<number | undefined>,
): Replicas | undefined {
  if (postgres.replicas.length === 0) return undefined;
  const timeoutMs = Math.max(1, Math.ceil(postgresTimeoutMs * SHARE));
  const all = postgres.replicas.map((source, i) => {
    const { degraded, recovered } = report();
    return new Replica(new Database(source, { timeoutMs, maxQueue }, `postgres.replicas[${i}]`), {
      coherence,
      degraded,
      recovered,
      corrupt: ({ userId, adapterName }, reason) =>
        events.emit('corrupt', { userId, adapterName, tier: 'postgres', reason }),
    });
  });
  return new Replicas(all, coherence, primary);
}
