// @ts-check
/**
 * Tiers: a row that another service wrote is loaded from Postgres, then from memory, and by a node that has just started
 * from Redis.
 * @import { Nodes } from './nodes.js'
 * @import { LoRAStorage } from 'lora-store'
 */
import pg from 'pg';
import { heading, ms, say, table } from '../servers/print.js';
import { recordOf, userOf } from './fixtures.js';
import { hear } from './hear.js';

const FILE = 'seed-8x512-768.bin';
const NAME = 'from-rust';

/** @param {Nodes} nodes */
export async function showTiers(nodes) {
  heading('One adapter through every tier');
  const userId = userOf(FILE);
  /** @type {(string | number)[][]} */
  const rows = [];
  /**
   * @param {string} who
   * @param {LoRAStorage} node
   */
  const load = async (who, node) => {
    const begun = performance.now();
    const { tier, version, revision, verifiedAgeMs, stale } = await node.loadAdapterInfo(userId, NAME);
    const took = performance.now() - begun;
    rows.push([who, tier, version, revision, ms(verifiedAgeMs), stale ? 'yes' : 'no', ms(took)]);
  };

  const first = await nodes.open();
  const hearing = hear(first, userId, NAME);
  await insertAsRustWould(nodes.postgres, userId);
  const heard = await hearing;
  const news = heard === undefined ? 'the node was not told' : `the node heard of it by ${heard.via}`;
  say(`A row was inserted by plain SQL; ${news}.`);
  await load('first load', first);
  await load('again', first);
  // Returns once what the loads left for Redis is there.
  await first.close();
  const restarted = await nodes.open();
  await load('after a restart', restarted);
  await load('again', restarted);
  await restarted.close();
  if (!nodes.hasRedis) say('Without Redis, a node that restarts begins at Postgres.');
  table(['', 'tier', 'version', 'revision', 'verified ago', 'stale', 'took'], rows);
}

/**
 * @param {string} url
 * @param {string} userId
 */
async function insertAsRustWould(url, userId) {
  const record = recordOf(FILE);
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(
      `insert into lora_adapters (user_id, adapter_name, version, weights, size_bytes, training_iterations)
       select $1::uuid, $2::varchar, coalesce(max(version), 0) + 1, $3::bytea, $4::bigint, 250
       from lora_adapters where user_id = $1 and adapter_name = $2`,
      [userId, NAME, record, record.length],
    );
  } finally {
    await client.end();
  }
}
