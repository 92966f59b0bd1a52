/** A storage that meets everything a metric tells of: each kind of call, a tier that is lost and comes back. */
import { randomUUID } from 'node:crypto';
import type { LoRAStorage } from '../../src/storage/lora-storage.js';
import { proxyTo } from '../storage/faults/support.js';
import { redisUrl } from '../support/redis.js';
import { type Bench, smallAdapter } from '../support/storage.js';
import { waitFor } from '../support/wait.js';

/** observe is called before anything happens. What the storage answers is not looked at; afterwards it is well, and open. */
export async function live(bench: Bench, observe: (node: LoRAStorage) => void): Promise<LoRAStorage> {
  const proxy = await proxyTo(redisUrl());
  // The bus sends itself a message at every third of this.
  const node = await bench.open({ redis: proxy.url(redisUrl()), redisTimeoutMs: 500, maxStalenessMs: 900 });
  observe(node);
  const recovered = new Set<string>();
  node.on('recovered', ({ tier }) => recovered.add(tier));
  const userId = await bench.user();
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
