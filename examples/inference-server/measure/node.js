// @ts-check
/** The server, over lora-store or over pg alone (node node.js pg), as a child of measure.js. */
import { decodeAdapter, encodeAdapter, LoRAStorage, UserLoRAAdapter } from 'lora-store';
import pg from 'pg';
import { buildServer } from '../server.js';
import { USERS, userAt } from './users.js';

const HIT_RATE = 0.95;
const BYTES = encodeAdapter(new UserLoRAAdapter(userAt(0))).length;

// Users are asked for with equal probability, so a share of them in memory is that share of hits.
const storage = await LoRAStorage.open({ memory: { maxBytes: Math.round(HIT_RATE * USERS * BYTES) } });
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL });
const app = buildServer({
  storage: process.argv[2] === 'pg' ? readingEachTime(storage) : storage,
  logLevel: 'warn',
  requestsPerSecond: 0,
});
const url = await app.listen({ host: '127.0.0.1', port: 0 });
process.send?.({ url });
process.on('message', () => process.send?.(storage.cacheStats().memory));
process.once('SIGTERM', async () => {
  await app.close();
  await Promise.all([storage.close(), pool.end()]);
  process.disconnect();
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
