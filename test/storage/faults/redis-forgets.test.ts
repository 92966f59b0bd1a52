/**
 * A Redis that lost what it was told: the saver could not reach it, it was killed and started empty, or it came back with
 * an older copy. It is trusted for bytes and never for freshness, so whatever it holds, no node serves what was replaced.
 */
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { LoRAStorageOptions } from '../../../src/options.js';
import type { LoRAStorage } from '../../../src/storage/lora-storage.js';
import { type OwnServer, startRedis } from '../../support/redis.js';
import { smallAdapter, useStorage } from '../../support/storage.js';
import { waitFor } from '../../support/wait.js';
import { type FarNode, openFar } from './far-node.js';
import { staleFor, versionAt } from './support.js';

const MAX_STALENESS_MS = 400;

const bench = useStorage();
let server: OwnServer;
let raw: Redis;
let open: FarNode[] = [];

beforeAll(async () => {
  server = await startRedis();
  raw = new Redis(server.url, { retryStrategy: () => 20, maxRetriesPerRequest: null });
  raw.on('error', () => undefined);
});
afterEach(async () => {
  await Promise.all(open.map((far) => far.close()));
  open = [];
});
afterAll(async () => {
  raw?.disconnect();
  await server?.stop();
});

async function far(options: LoRAStorageOptions): Promise<FarNode> {
  const made = await openFar(bench, server.url, { maxStalenessMs: MAX_STALENESS_MS, ...options });
  open.push(made);
  return made;
}

const nodeWith = async (options: LoRAStorageOptions): Promise<LoRAStorage> => (await far(options)).node;
const keyOf = (userId: string) => `${bench.namespace}:v1:{${userId}}:default`;

/** What Redis holds of him, once it is an adapter. */
function entryInRedis(userId: string): Promise<Buffer> {
  return waitFor(async () => {
    const held = await raw.getBuffer(keyOf(userId));
    return held !== null && held.length > 100 && held;
  });
}

/** Its header says of which revision. */
const revisionOf = (entry: Buffer): number => entry.readDoubleLE(8);

function busIsLive(node: LoRAStorage): Promise<boolean> {
  return waitFor(() => node.cacheStats().bus.connected);
}

async function expectFresh(nodes: readonly LoRAStorage[], userId: string, version: number): Promise<void> {
  for (const node of nodes) expect(await staleFor(node, userId, version)).toBeLessThan(MAX_STALENESS_MS);
}

describe.each<[string, LoRAStorageOptions]>([
  ['bus and change feed', {}],
  ['the bus alone, change feed off', { changeFeed: false }],
])('with %s', (_, options) => {
  /** One that serves from memory, and one that has only Redis to serve from. */
  const readers = () => Promise.all([nodeWith(options), nodeWith({ ...options, memory: false })]);

  test.each(['cut', 'mute'] as const)(
    'the Redis of the saver is %s: nobody is told, and Redis keeps the old',
    async (how) => {
      const [saver, nodes] = [await far(options), await readers()];
      const userId = await bench.user();
      await saver.node.saveAdapter(smallAdapter(userId));
      const old = await entryInRedis(userId);
      for (const node of nodes) expect(await versionAt(node, userId)).toBe(1);
      const { commands, bus } = saver.lines;
      for (const line of [commands, bus]) line[how]();
      expect(await saver.node.saveAdapter(smallAdapter(userId, 2))).toBe(2);
      await expectFresh(nodes, userId, 2);
      // The saver is dead, and whoever comes only now knows nothing but what Redis holds.
      await saver.close();
      await raw.set(keyOf(userId), old);
      expect(await versionAt(await nodeWith(options), userId)).toBe(2);
    },
  );

  test('killed, and empty when it is back', async () => {
    const [saver, nodes] = [await nodeWith(options), await readers()];
    const userId = await bench.user();
    await saver.saveAdapter(smallAdapter(userId));
    await entryInRedis(userId);
    for (const node of nodes) expect(await versionAt(node, userId)).toBe(1);
    await server.kill();
    await saver.saveAdapter(smallAdapter(userId, 2));
    await expectFresh(nodes, userId, 2);
    await saver.saveAdapter(smallAdapter(userId, 3));
    await server.restart();
    expect(await raw.exists(keyOf(userId))).toBe(0);
    for (const node of [saver, ...nodes]) await busIsLive(node);
    await expectFresh(nodes, userId, 3);
    await saver.saveAdapter(smallAdapter(userId, 4));
    await expectFresh([...nodes, await nodeWith(options)], userId, 4);
  });

  test('a fill that comes when it was emptied finds its token gone', async () => {
    const saver = await nodeWith(options);
    const userId = await bench.user();
    await saver.saveAdapter(smallAdapter(userId));
    await entryInRedis(userId);
    await raw.del(keyOf(userId));
    const slow = new Redis(server.url);
    slow.on('error', () => undefined);
    const node = await bench.open({ ...options, redis: slow, redisTimeoutMs: 2000 });
    const scripts = slow as unknown as { loraFill(...args: unknown[]): Promise<number> };
    const fill = scripts.loraFill.bind(slow);
    let letGo = () => {};
    const held = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    let filled: Promise<number> | undefined;
    scripts.loraFill = (...args) => {
      const filling = held.then(() => fill(...args));
      filled = filling;
      return filling;
    };
    // 1. Version 1 was read, and is on its way into Redis. 2. Version 2 is saved.
    expect(await versionAt(node, userId)).toBe(1);
    await saver.saveAdapter(smallAdapter(userId, 2));
    // 3. Redis forgets both the token and version 2. 4. The fill arrives.
    await server.restart();
    await waitFor(async () => (await slow.ping()) === 'PONG');
    letGo();
    expect(await filled).toBe(0);
    expect(await raw.exists(keyOf(userId))).toBe(0);
    await node.close();
    slow.disconnect();
  });

  test('back with an older copy of itself', async () => {
    const [saver, nodes] = [await nodeWith(options), await readers()];
    const userId = await bench.user();
    await saver.saveAdapter(smallAdapter(userId));
    const old = await entryInRedis(userId);
    for (const node of nodes) expect(await versionAt(node, userId)).toBe(1);
    await raw.save();
    await saver.saveAdapter(smallAdapter(userId, 2));
    await expectFresh(nodes, userId, 2);
    await server.restart();
    expect(revisionOf(await entryInRedis(userId))).toBe(revisionOf(old));
    for (const node of [...nodes].reverse()) expect(await versionAt(node, userId)).toBe(2);
    // One that comes only now knows nothing but what it finds.
    expect(await versionAt(await nodeWith(options), userId)).toBe(2);
    // What is found to be old is replaced by whoever finds it.
    await waitFor(async () => {
      for (const node of nodes) await versionAt(node, userId);
      // A look: it may have been cleared just now, and only the next load fills it in.
      const held = await raw.getBuffer(keyOf(userId));
      return held !== null && held.length > 100 && revisionOf(held) > revisionOf(old);
    });
    await raw.flushall();
    await raw.save();
  });
});
