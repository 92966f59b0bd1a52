// @ts-check
/**
 * Latency: how long a load takes from each tier, one caller after the other. Nodes without the tiers above make every
 * load go to the tier in question, and its answer says that it did.
 * @import { Nodes } from './nodes.js'
 * @import { LoRAStorageOptions, Tier } from 'lora-store'
 */
import { createHistogram } from 'node:perf_hooks';
import { UserLoRAAdapter } from 'lora-store';
import { heading, ms, say, table } from '../servers/print.js';

const USER = '00000000-0000-4000-8000-00000000000b';
const TARGET_MS = 2;

/** @type {{ tier: Tier, loads: number, options: LoRAStorageOptions }[]} */
const TIERS = [
  { tier: 'memory', loads: 50_000, options: {} },
  { tier: 'redis', loads: 2000, options: { memory: false } },
  { tier: 'postgres', loads: 2000, options: { memory: false, redis: false } },
];

/** @param {Nodes} nodes */
export async function showLatency(nodes) {
  heading(`Loads of a 41,052-byte adapter, next to the target of ${TARGET_MS} ms`);
  const writer = await nodes.open();
  await writer.saveAdapter(new UserLoRAAdapter(USER).initializeRandom(3));
  await writer.pruneVersions({ keepLatest: 1, userId: USER });
  await writer.close();

  const rows = [];
  for (const { tier, loads, options } of TIERS) {
    if (tier === 'redis' && !nodes.hasRedis) {
      rows.push([tier, '–', '–', '–', 'no Redis']);
      continue;
    }
    const { p50, p99 } = await measure(nodes, tier, loads, options);
    rows.push([tier, loads, ms(p50), ms(p99), p99 < TARGET_MS ? 'within' : 'above, on this machine']);
  }
  table(['tier', 'loads', 'p50', 'p99', 'p99 and the target'], rows);
  say('One caller, one adapter, servers as they run here: an idea of the order of magnitude, no benchmark.');
}

/**
 * @param {Nodes} nodes
 * @param {Tier} tier
 * @param {number} loads
 * @param {LoRAStorageOptions} options
 */
async function measure(nodes, tier, loads, options) {
  const node = await nodes.open(options);
  const histogram = createHistogram();
  let elsewhere = 0;
  const warmUp = Math.ceil(loads / 10);
  for (let i = -warmUp; i < loads; i++) {
    const begun = process.hrtime.bigint();
    const loaded = await node.loadAdapterInfo(USER);
    const took = process.hrtime.bigint() - begun;
    if (i < 0) continue;
    histogram.record(took > 0n ? took : 1n);
    if (loaded.tier !== tier) elsewhere++;
  }
  await node.close();
  if (elsewhere > loads / 100) throw new Error(`${elsewhere} of ${loads} loads did not come from ${tier}`);
  return { p50: histogram.percentile(50) / 1e6, p99: histogram.percentile(99) / 1e6 };
}
