/** How long each tier takes for adapters that exist, one after the other, against the 2 ms that a load should take. */
import { AdapterCorruptError, AdapterNotFoundError } from '../../errors.js';
import type { LoRAStorageOptions } from '../../options.js';
import { LoRAStorage } from '../../storage/lora-storage.js';
import { failure, ok, type Patient, type Verdict, warning } from './finding.js';
import { mendOf } from './mends.js';
import { someAdapters } from './planner.js';
import { redisCommands } from './redis.js';
import { CLI } from './redis-answers.js';

const TARGET_MS = 2;
const ROUND_MS = 3000;
/** That the hundredth part of them is more than one. */
const LOADS = 200;
/** Of fewer p99 is the slowest one, which says nothing. */
const JUDGED = 100;

type Tier = 'memory' | 'redis' | 'postgres';
type Name = [userId: string, adapterName: string];

/** Where the time goes. */
const MENDS: Readonly<Record<Tier, string>> = {
  memory: 'uptime # a machine that is busy is slow in memory, too; so is a portable codec, see above',
  redis: `${CLI} --latency # of it, the way there`,
  postgres: `psql "$DATABASE_URL" --command='\\timing on' --command='select 1' # of it, the way there`,
};

export function latencyOf(tier: Tier) {
  return async (patient: Patient): Promise<Verdict> => {
    const { tables, cache, options } = patient;
    if (tier === 'redis' && cache === undefined) return ok('there is none: two tiers');
    const names = await someAdapters(tables);
    if (names.length === 0) return ok('no adapter is stored: nothing to measure');
    const only: LoRAStorageOptions = {
      ...(tier === 'memory' ? {} : { memory: false }),
      ...(tier === 'redis' ? {} : { redis: false }),
    };
    await using storage = await LoRAStorage.open({ ...options, ...only });
    const { good, failures } = await firstRound(storage, names);
    const tookMs = await measure(storage, tier, good);
    const corrupt = failures.filter((error) => error instanceof AdapterCorruptError).length;
    if (corrupt > 0) {
      const found = tookMs.length === 0 ? 'nothing to measure' : judgeLatency(tookMs, tier).found;
      return warning(`${found}; ${corrupt} of ${corrupt + good.length} adapters are corrupt`, 'npx lora-store verify');
    }
    if (tookMs.length > 0) return judgeLatency(tookMs, tier);
    const [why] = failures;
    if (good.length === 0 && why !== undefined)
      return failure(`no load succeeded: ${why.message}`, await mendOf(why, patient));
    if (tier === 'redis' && ((await storage.health()).redis !== 'up' || storage.cacheStats().redis.errors > 0)) {
      const { mend } = await redisCommands(patient);
      return warning('not measured: Redis does not answer a node, see redis above', mend);
    }
    return warning(`none of ${good.length} adapters was answered from here`, 'npx lora-store warm --hottest 1000');
  };
}

/** Leaves in the tier what the next ones find there, of those that there is time for: on a slow line, fewer. */
async function firstRound(storage: LoRAStorage, names: readonly Name[]): Promise<{ good: Name[]; failures: Error[] }> {
  const [good, failures]: [Name[], Error[]] = [[], []];
  const until = performance.now() + ROUND_MS;
  for (const name of names) {
    if (performance.now() > until) break;
    await storage.loadAdapterInfo(...name).then(
      () => good.push(name),
      // Deleted since is none.
      (error: Error) => error instanceof AdapterNotFoundError || failures.push(error),
    );
  }
  return { good, failures };
}

/** Over and over, so that of few adapters there are many loads. */
async function measure(storage: LoRAStorage, tier: Tier, names: readonly Name[]): Promise<number[]> {
  const tookMs: number[] = [];
  const until = performance.now() + ROUND_MS;
  for (let i = 0; i < LOADS && names.length > 0 && performance.now() < until; i++) {
    const begun = performance.now();
    const loaded = await storage.loadAdapterInfo(...(names[i % names.length] as Name)).catch(() => undefined);
    if (loaded?.tier === tier) tookMs.push(performance.now() - begun);
  }
  return tookMs;
}

/** tookMs: not empty. */
export function judgeLatency(tookMs: readonly number[], tier: Tier): Verdict {
  const sorted = [...tookMs].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.ceil(share * sorted.length) - 1] as number;
  const found = `p50 ${at(0.5).toFixed(3)} ms, p99 ${at(0.99).toFixed(3)} ms, of ${sorted.length} loads one after the other`;
  const [judged, share] =
    sorted.length < JUDGED ? (['p50, since there are few', 0.5] as const) : (['p99', 0.99] as const);
  return at(share) <= TARGET_MS
    ? ok(found)
    : warning(`${found}: the target is ${TARGET_MS} ms at ${judged}`, MENDS[tier]);
}
