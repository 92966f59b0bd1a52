// @ts-check
/** The server, as a child of measure.js: node node.js <lora-store|pg> <users> <share of them that memory holds>. */
import { decodeAdapter, encodeAdapter, LoRAStorage, UserLoRAAdapter } from 'lora-store';
import pg from 'pg';
import { onParentGone } from '../parent.js';
import { buildServer } from '../server.js';
import { userAt } from './users.js';

const [reads, users, hitRate] = process.argv.slice(2);
const BYTES = encodeAdapter(new UserLoRAAdapter(userAt(0))).length;

// measure.js may be killed at any moment.
onParentGone(() => process.exit());

// Users are asked for with equal probability, so a share of them in memory is that share of hits.
const maxBytes = Math.round(Number(hitRate) * Number(users) * BYTES);
const namespace = process.env.LORA_STORE_NAMESPACE || 'lora';
const storage = await LoRAStorage.open({ memory: { maxBytes }, namespace });
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL });
const app = buildServer({
  storage: reads === 'pg' ? readingEachTime(storage) : storage,
  logLevel: 'warn',
  requestsPerSecond: 0,
});
const url = await app.listen({ host: '127.0.0.1', port: 0 });
if (process.send === undefined) console.log(url);
else process.send({ url });
process.on('message', () => process.send?.(storage.cacheStats().memory));
process.once('SIGTERM', async () => {
  await app.close();
  await Promise.all([storage.close(), pool.end()]);
  process.exit();
});

/**
 * What one would write without this package: a prepared SELECT of the newest row, and no cache.
 * @param {LoRAStorage} storage
 */
function readingEachTime(storage) {
  return new Proxy(storage, {
    get(target, name) {
      if (name === 'loadAdapterInfo') return load;
      const value = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** @param {string} userId @param {string} [adapterName] */
async function load(userId, adapterName = 'default') {
  const { rows } = await pool.query({
    name: 'newest',
    text: 'select weights, version from lora_adapters where user_id = $1 and adapter_name = $2 order by version desc limit 1',
    values: [userId, adapterName],
  });
  const { weights, version } = rows[0];
  return { adapter: decodeAdapter(weights), version, revision: 0, tier: 'postgres', stale: false, verifiedAgeMs: 0 };
}
