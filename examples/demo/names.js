// @ts-check
/**
 * Names: a user has as many adapters as there are names, such as two for an A/B test. A batch of users is loaded in one
 * round trip per tier.
 * @import { Nodes } from './nodes.js'
 */
import { createHash } from 'node:crypto';
import { UserLoRAAdapter } from 'lora-store';
import { heading, table } from '../servers/print.js';

const USERS = [1, 2, 3, 4].map((n) => `00000000-0000-4000-8000-00000000000${n}`);
const INPUT = Float32Array.from({ length: 512 }, (_, i) => Math.sin(i));
const PREFERENCE = Float32Array.from({ length: 768 }, (_, i) => Math.cos(i));

/** @param {Nodes} nodes */
export async function showNames(nodes) {
  heading('Two names a user: an A/B test');
  const node = await nodes.open();
  for (const [seed, userId] of USERS.entries()) {
    const production = new UserLoRAAdapter(userId).initializeRandom(seed);
    const experimental = production.clone().updateWeights((_, user) => {
      for (const i of user.keys()) user[i] = 2 * (user[i] ?? 0);
    });
    await Promise.all([node.saveAdapter(production, 'production'), node.saveAdapter(experimental, 'experimental')]);
    await node.pruneVersions({ keepLatest: 1, userId });
  }

  const keys = USERS.map((userId) => ({ userId, adapterName: inExperiment(userId) ? 'experimental' : 'production' }));
  const adapters = await node.loadAdapters(keys);
  const rows = adapters.map((adapter, i) => {
    if (!(adapter instanceof UserLoRAAdapter)) throw adapter ?? new Error('an adapter is missing');
    return [adapter.userId, keys[i]?.adapterName ?? '', adapter.score(INPUT, PREFERENCE).toFixed(3)];
  });
  table(['user', 'adapter', 'score of one candidate'], rows);
  await node.close();
}

/**
 * Half of the users, the same ones every time.
 * @param {string} userId
 */
function inExperiment(userId) {
  return (createHash('sha256').update(userId).digest()[0] ?? 0) < 128;
}
