// @ts-check
/**
 * Versions: a save never overwrites. Any version can be loaded, an old one be made the latest again, and a save that was
 * computed from an outdated version be refused.
 * @import { Nodes } from './nodes.js'
 */
import { decodeAdapter, encodeAdapter, VersionConflictError } from 'lora-store';
import { heading, say, table } from '../servers/print.js';
import { recordOf, userOf } from './fixtures.js';

const FILE = 'second-8x512-768.bin';
const NAME = 'versions';
const KEPT = 5;

/** @param {Nodes} nodes */
export async function showVersions(nodes) {
  heading('Versions, and back');
  const node = await nodes.open();
  const userId = userOf(FILE);

  const adapter = decodeAdapter(recordOf(FILE));
  const first = await node.saveAdapter(adapter, NAME);
  say(`saved version ${first}, ${adapter.trainingIterations} training iterations`);

  const trained = (await node.loadAdapter(userId, NAME)).updateWeights((_, user) => user.forEach(nudge));
  trained.trainingIterations += 10;
  const second = await node.saveAdapter(trained, NAME, { expectedVersion: first });
  say(`trained on it, saved version ${second}, ${trained.trainingIterations} training iterations`);

  const conflict = await node.saveAdapter(adapter, NAME, { expectedVersion: first }).catch((error) => error);
  if (!(conflict instanceof VersionConflictError)) throw new Error('two trainers, one version', { cause: conflict });
  say(`a second trainer who started from ${first} is refused: ${conflict.name}: ${conflict.message}`);

  const third = await node.rollbackAdapter(userId, NAME, first);
  const [latest, old] = await Promise.all([
    node.loadAdapter(userId, NAME),
    node.loadAdapterVersion(userId, NAME, first),
  ]);
  const same = encodeAdapter(latest).equals(encodeAdapter(old)) ? 'the weights of' : 'OTHER weights than';
  say(`rolled back to version ${first}: version ${third} is the latest now and has ${same} version ${first}`);

  const pruned = await node.pruneVersions({ keepLatest: KEPT, userId });
  say(`pruned to the newest ${KEPT} of each name: ${pruned} rows deleted`, '');
  const rows = (await node.listAdapters(userId)).filter(({ adapterName }) => adapterName === NAME);
  table(
    ['name', 'version', 'bytes', 'iterations', 'updated'],
    rows.map((row) => [
      row.adapterName,
      row.version,
      row.sizeBytes,
      row.trainingIterations,
      row.updatedAt.toISOString(),
    ]),
  );
  await node.close();
}

/**
 * In the place of training.
 * @param {number} weight
 * @param {number} index
 * @param {Float32Array} weights
 */
function nudge(weight, index, weights) {
  weights[index] = weight * 1.01;
}
