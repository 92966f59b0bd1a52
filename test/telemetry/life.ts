/** A storage that meets everything a metric tells of: each kind of call, a tier that is lost and comes back, a read replica. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll } from 'vitest';
import { migrate } from '../../src/postgres/migrate.js';
import type { LoRAStorage } from '../../src/storage/lora-storage.js';
import { proxyTo } from '../storage/faults/support.js';
import { redisUrl } from '../support/redis.js';
import { type ReplicatedServer, TestReplication } from '../support/replication.js';
import { type Bench, smallAdapter } from '../support/storage.js';
import { waitFor } from '../support/wait.js';

/** Call at the top of a test file; its servers are there from beforeAll on. */
export function useLife(bench: Bench): (observe: (node: LoRAStorage) => void) => Promise<LoRAStorage> {
  let replication: TestReplication;
  let standby: ReplicatedServer;
  beforeAll(async () => {
    replication = await TestReplication.start();
    await migrate({ postgres: replication.primary.url });
    standby = await replication.standby();
  });
  afterAll(() => replication?.stop());
  return (observe) => live(bench, { primary: replication.primary.url, replicas: [standby.url] }, observe);
}

/** observe is called before anything happens. What the storage answers is not looked at; afterwards it is well, and open. */
async function live(
  bench: Bench,
  postgres: { primary: string; replicas: string[] },
  observe: (node: LoRAStorage) => void,
): Promise<LoRAStorage> {
  const proxy = await proxyTo(redisUrl());
  // The bus sends itself a message at every third of this.
  const budgets = { redisTimeoutMs: 500, maxStalenessMs: 900 };
  const node = await bench.open({ postgres, redis: proxy.url(redisUrl()), createMissingUsers: true, ...budgets });
  observe(node);
  const recovered = new Set<string>();
  node.on('recovered', ({ tier }) => recovered.add(tier));
  const userId = randomUUID();
  await node.saveAdapter(smallAdapter(userId));
  await node.loadAdapter(userId);
  await node.loadAdapters([{ userId }]);
  await node.loadAdapterOr(randomUUID(), 'default', () => smallAdapter(userId));
  await waitFor(() => node.cacheStats().bus.lagMs !== undefined, { what: 'a message of the bus to itself' });
  proxy.cut();
  await waitFor(async () => {
    await node.loadAdapter(randomUUID()).catch(() => undefined);
    return node.cacheStats().redis.breaker === 'open';
  });
  proxy.heal();
  await waitFor(async () => {
    await node.loadAdapter(randomUUID()).catch(() => undefined);
    return recovered.has('redis') && recovered.has('bus') && node.cacheStats().bus.lagMs !== undefined;
  });
  return node;
}
