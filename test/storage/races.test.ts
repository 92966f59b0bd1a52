/**
 * Races of one node, each with its interleaving written out: Postgres sits behind a proxy that delays or swallows its
 * answers, so that what happens first is not left to luck.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { encodeAdapter } from '../../src/adapter/codec.js';
import type { LoRAStorage } from '../../src/storage/lora-storage.js';
import { type FaultProxy, startProxy } from '../support/proxy.js';
import { redisUrl } from '../support/redis.js';
import { smallAdapter, useStorage } from '../support/storage.js';
import { waitFor } from '../support/wait.js';

const bench = useStorage();
let proxy: FaultProxy;
let nodes: LoRAStorage[] = [];

beforeEach(async () => {
  const { hostname, port } = new URL(bench.postgresUrl);
  proxy = await startProxy(Number(port), hostname);
});
afterEach(async () => {
  proxy?.heal();
  await Promise.all(nodes.map((node) => node.close()));
  nodes = [];
  await proxy?.close();
});

/** A node whose Postgres is behind the proxy; its ear is not, so that only its questions are disturbed. */
async function slowNode(options = {}): Promise<LoRAStorage> {
  const postgres = { primary: proxy.url(bench.postgresUrl), direct: bench.postgresUrl };
  const node = await bench.open({ postgres, redis: false, postgresTimeoutMs: 20_000, ...options });
  nodes.push(node);
  return node;
}

describe('a save whose answer is lost', () => {
  for (const changeFeed of [true, false]) {
    test(`a load that read before its commit and is answered after it leaves nothing trusted, feed ${changeFeed ? 'on' : 'off'}`, async () => {
      const userId = await bench.user();
      const node = await slowNode({ changeFeed, maxStalenessMs: 60_000 });
      await node.saveAdapter(smallAdapter(userId, 1));
      // 1. The save is sent; its answer will not come. What memory holds is unverified from here on.
      proxy.mute('answers');
      const saving = node.saveAdapter(smallAdapter(userId, 2)).catch((error) => error.code);
      const lost = proxy.lostBytes;
      // The commit shows before its answer leaves the server.
      await waitFor(async () => (await rows(userId)) === 2 && proxy.lostBytes > lost);
      proxy.heal();
      // 2. A load puts back what it finds. Here that is version 2 already; at worst it would be version 1.
      await node.loadAdapterInfo(userId);
      // 3. The save hears of the loss of its connection.
      proxy.cut();
      expect(await saving).toBe('SAVE_OUTCOME_UNKNOWN');
      proxy.heal();
      // 4. Whatever was put back before the save failed is not trusted: the next load asks, and tells the truth.
      expect(node.peekAdapter(userId)).toBeUndefined();
      expect((await node.loadAdapterInfo(userId)).version).toBe(2);
      expect(node.peekAdapter(userId)?.userId).toBe(userId);
    });
  }
});

test('a version that was heard of while Postgres was silent is not passed over for an older one that is at hand', async () => {
  const userId = await bench.user();
  const other = await bench.open();
  await other.saveAdapter(smallAdapter(userId, 1));
  const node = await slowNode({ changeFeed: false, maxStalenessMs: 50, redis: redisUrl() });
  await node.loadAdapter(userId);
  await waitFor(() => node.peekAdapter(userId) === undefined);
  // 1. Version 1 has to be verified, and Postgres says nothing.
  proxy.mute('answers');
  const loading = node.loadAdapterInfo(userId).then(
    ({ version }) => version,
    (error) => error.code,
  );
  // 2. Meanwhile the bus tells of version 2.
  const heard = new Promise((resolve) => node.on('invalidated', resolve));
  await other.saveAdapter(smallAdapter(userId, 2));
  await heard;
  // 3. Postgres is lost. Serving version 1, flagged stale, would go back behind what this node knows.
  proxy.cut();
  expect(await loading).not.toBe(1);
});

test('a slow load that read before a save answers its own caller, and later loads see the save', async () => {
  const userId = await bench.user();
  const saver = await bench.open({ redis: false });
  await saver.saveAdapter(smallAdapter(userId, 1));
  const node = await slowNode();
  await node.countAdapters(userId);
  // 1. The load reads version 1; its answer is under way.
  proxy.hold();
  const [begun] = await bench.sql<{ at: string }>('select clock_timestamp()::text as at');
  const loading = node.loadAdapterInfo(userId);
  await waitFor(async () => (await readsSince(begun?.at)) > 0);
  // 2. Version 2 is committed, and this node hears of it.
  const heard = new Promise((resolve) => node.on('invalidated', resolve));
  await saver.saveAdapter(smallAdapter(userId, 2));
  await heard;
  // 3. The load ends: its caller may get version 1, the cache must not.
  proxy.heal();
  expect((await loading).version).toBe(1);
  expect(node.peekAdapter(userId)).toBeUndefined();
  const { adapter, version } = await node.loadAdapterInfo(userId);
  expect(version).toBe(2);
  expect(encodeAdapter(adapter).equals(encodeAdapter(smallAdapter(userId, 2)))).toBe(true);
});

async function rows(userId: string): Promise<number> {
  return (await bench.sql('select from lora_adapters where user_id = $1', [userId])).length;
}

/** Sessions of this package whose last statement was a load, and is done since then. */
async function readsSince(time: string | undefined): Promise<number> {
  const sessions = await bench.sql(
    `select from pg_stat_activity where datname = current_database() and application_name = 'lora-store'
     and state = 'idle' and query like '%b.weights%' and state_change > $1::timestamptz`,
    [time],
  );
  return sessions.length;
}
