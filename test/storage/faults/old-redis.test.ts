/**
 * Redis came back old: what it holds was the latest once, and nobody is left who would say that it is no more. No node
 * serves it: not from its bytes, not as absent, and not as stale either.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { LoRAStorageOptions } from '../../../src/options.js';
import type { LoRAStorage } from '../../../src/storage/lora-storage.js';
import { startChild } from '../../support/processes.js';
import type { FaultProxy } from '../../support/proxy.js';
import { type OwnServer, startRedis } from '../../support/redis.js';
import { smallAdapter, useStorage } from '../../support/storage.js';
import { waitFor } from '../../support/wait.js';
import { RedisBytes } from './redis-bytes.js';
import { codeOf, proxyTo, versionAt } from './support.js';

const bench = useStorage();
let server: OwnServer;
let redis: RedisBytes;
/** Between the saver and its Redis. */
let proxy: FaultProxy;

beforeAll(async () => {
  server = await startRedis();
  redis = new RedisBytes(server.url, bench.namespace);
  redis.raw.on('error', () => undefined);
  proxy = await proxyTo(server.url);
});
afterAll(async () => {
  redis?.raw.disconnect();
  await proxy?.close();
  await server?.stop();
});

/** To be closed before the next writer: who listens to it clears what is to be found old. */
const fresh = (options: LoRAStorageOptions = {}): Promise<LoRAStorage> => bench.open({ redis: server.url, ...options });

/** Version 1, in Postgres and in Redis, by a node that is gone afterwards. */
async function firstVersion(): Promise<string> {
  const userId = await bench.user();
  const node = await fresh();
  await node.saveAdapter(smallAdapter(userId, 1));
  await node.close();
  expect(await redis.holds(userId, 1)).toBe(true);
  return userId;
}

type Change = 'saved' | 'deleted';

/** Every way out of a process, for a writer whose Redis is out of reach. */
const ends: Record<string, (change: Change, userId: string) => Promise<void>> = {
  async closed(change, userId) {
    const node = await fresh({ redis: proxy.url(server.url) });
    proxy.cut();
    if (change === 'saved') await node.saveAdapter(smallAdapter(userId, 2));
    else await node.deleteAdapter(userId);
    await node.close();
  },
  async killed(change, userId) {
    const child = await startChild(new URL('./lone-writer.mjs', import.meta.url), {
      LORA_TEST_NAMESPACE: bench.namespace,
      LORA_TEST_POSTGRES: bench.postgresUrl,
      LORA_TEST_REDIS: proxy.url(server.url),
    });
    proxy.cut();
    await child.call(change === 'saved' ? 'save' : 'remove', userId);
    await child.kill();
  },
};

const cases = (['saved', 'deleted'] as const).flatMap((change) =>
  ['closed', 'killed'].flatMap((end) => [true, false].map((changeFeed) => [change, end, changeFeed] as const)),
);

describe('a writer whose Redis was out of reach, and who is gone', () => {
  test.each(cases)('%s, then %s; the change feed of those who come after: %s', async (change, end, changeFeed) => {
    const userId = await firstVersion();
    await ends[end]?.(change, userId);
    proxy.heal();
    expect(await redis.holds(userId, 1)).toBe(true);

    // Postgres is gone by the time it is asked: nothing says that what Redis holds is the latest, or ever was of late.
    const postgres = await proxyTo(bench.postgresUrl);
    const cutOff = await fresh({ changeFeed, postgres: postgres.url(bench.postgresUrl) });
    postgres.cut();
    expect(await versionAt(cutOff, userId)).toBe('STORAGE_UNAVAILABLE');
    expect(await codeOf(cutOff.loadAdapters([{ userId }]))).toBe('STORAGE_UNAVAILABLE');
    await cutOff.close();
    await postgres.close();
    expect(await redis.holds(userId, 1)).toBe(true);

    const truth = change === 'saved' ? 2 : 'ADAPTER_NOT_FOUND';
    const many = await fresh({ changeFeed });
    const [loaded] = await many.loadAdapters([{ userId }]);
    expect(loaded === undefined).toBe(change === 'deleted');
    expect(await versionAt(many, userId)).toBe(truth);
    await many.close();
    const one = await fresh({ changeFeed });
    expect(await versionAt(one, userId)).toBe(truth);
    await one.close();
    // And Redis is right from now on.
    await waitFor(async () => (await redis.entry(userId))?.version === (change === 'saved' ? 2 : 0));
  });
});

describe('a Redis that went back to an old dump', () => {
  test.each(['saved', 'deleted'] as const)(
    '%s since: neither who was there nor who comes serves it',
    async (change) => {
      const userId = await firstVersion();
      await redis.raw.call('SAVE');
      // Both were told of the change, one by the feed and one by the bus alone; neither has it in memory.
      const nodes = await Promise.all([true, false].map((changeFeed) => fresh({ changeFeed, memory: false })));
      const writer = await fresh();
      for (const node of nodes) expect(await versionAt(node, userId)).toBe(1);
      if (change === 'saved') await writer.saveAdapter(smallAdapter(userId, 2));
      else await writer.deleteAdapter(userId);
      await writer.close();
      expect(await redis.holds(userId, 1)).toBe(false);
      await server.restart();
      await waitFor(() => redis.holds(userId, 1));

      nodes.push(await fresh(), await fresh({ changeFeed: false }));
      const truth = change === 'saved' ? 2 : 'ADAPTER_NOT_FOUND';
      for (const node of nodes) {
        await waitFor(async () => (await node.health()).redis === 'up');
        expect(await versionAt(node, userId)).toBe(truth);
        const [loaded] = await node.loadAdapters([{ userId }]);
        expect(loaded === undefined).toBe(change === 'deleted');
      }
      await Promise.all(nodes.map((node) => node.close()));
    },
  );
});
