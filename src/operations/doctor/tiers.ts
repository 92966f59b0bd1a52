/** How long each tier takes for adapters that exist, one after the other, against the 2 ms that a load should take. */
import type { LoRAStorageOptions } from '../../options.js';
import { LoRAStorage } from '../../storage/lora-storage.js';
import { ok, type Patient, type Verdict, warning } from './finding.js';
import { someAdapters } from './planner.js';

const TARGET_MS = 2;
const ROUND_MS = 3000;

export function latencyOf(tier: 'memory' | 'redis' | 'postgres') {
  return async ({ tables, cache, options }: Patient): Promise<Verdict> => {
    if (tier === 'redis' && cache === undefined) return ok('there is none: two tiers');
    const keys = await someAdapters(tables);
    if (keys.length === 0) return ok('no adapter is stored: nothing to measure');
    const only: LoRAStorageOptions = {
      ...(tier === 'memory' ? {} : { memory: false }),
      ...(tier === 'redis' ? {} : { redis: false }),
    };
    await using storage = await LoRAStorage.open({ ...options, ...only });
    const load = ([userId, adapterName]: [string, string]) =>
      storage.loadAdapterInfo(userId, adapterName).catch(() => undefined);
    // The first round leaves in the tier what the next ones find there.
    const known = await whileTimeLasts(keys, load);
    const tookMs: number[] = [];
    await whileTimeLasts([...known, ...known], async (key) => {
      const begun = performance.now();
      if ((await load(key))?.tier === tier) tookMs.push(performance.now() - begun);
    });
    if (tookMs.length === 0 && tier === 'redis' && (await storage.health()).redis !== 'up')
      return warning('not measured: Redis does not answer a node, see redis above');
    return judgeLatency(tookMs, keys.length);
  };
}

/** Those of `keys` that there was time for: on a slow line, fewer. */
async function whileTimeLasts<Key>(keys: readonly Key[], visit: (key: Key) => Promise<unknown>): Promise<Key[]> {
  const until = performance.now() + ROUND_MS;
  const visited: Key[] = [];
  for (const key of keys) {
    await visit(key);
    visited.push(key);
    if (performance.now() > until) break;
  }
  return visited;
}

export function judgeLatency(tookMs: readonly number[], adapters: number): Verdict {
  if (tookMs.length === 0)
    return warning(`none of ${adapters} adapters was answered from here`, 'npx lora-store warm --hottest 1000');
  const sorted = [...tookMs].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.ceil(share * sorted.length) - 1] as number;
  const found = `p50 ${at(0.5).toFixed(3)} ms, p99 ${at(0.99).toFixed(3)} ms, of ${sorted.length} loads one after the other`;
  return at(0.99) <= TARGET_MS ? ok(found) : warning(`${found}: the target is ${TARGET_MS} ms at p99`);
}
