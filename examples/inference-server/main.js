// @ts-check
/**
 * The process: settings from the environment, a storage, the server over it, and the end of all of them. A parent that forked
 * it (process.send) is told what it observes, and takes it along when it ends.
 */
import { lookup } from 'node:dns/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { LoRAStorage } from 'lora-store';
import { collectDefaultMetrics, Registry } from 'prom-client';
import { onParentGone, tellParent } from './parent.js';
import { buildServer } from './server.js';
import { settings } from './settings.js';
import { expectGuarded } from './token.js';

try {
  await main();
} catch (error) {
  // No stack: a wrong setting, no Postgres, no tables, a port that is taken. The message says what to do.
  console.error(`inference-server: ${error instanceof Error ? error.message : error}`);
  process.exit(1);
}

async function main() {
  const { host: wanted, port, namespace, redisTimeoutMs, drainMs, shutdownMs, ...rest } = settings(process.env);
  const host = await oneAddress(wanted);
  expectGuarded(host, rest.token);
  const lifecycle = { draining: false };
  // A parent that is killed while this one begins: there is nothing to close yet.
  /** @type {() => unknown} */
  let end = () => process.exit();
  onParentGone(() => end());
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });

  const storage = await LoRAStorage.open({ createMissingUsers: true, namespace, redisTimeoutMs });
  // The other half is for the last training that has begun, and then for the end in good order.
  const training = { drainMs: shutdownMs / 2 };
  const app = buildServer({ storage, host, lifecycle, registry, training, observe: tellParent, ...rest });

  /** Not ready, with time to be taken out of rotation; then, in time, requests and trainings end, and the storage closes. */
  const shutDown = async () => {
    if (lifecycle.draining) return;
    lifecycle.draining = true;
    app.log.info({ drainMs }, 'draining');
    await delay(drainMs);
    const late = setTimeout(() => {
      app.log.error({ shutdownMs }, 'not ended in time');
      process.exit(1);
    }, shutdownMs);
    await app.close();
    await storage.close();
    app.log.info('closed');
    // Whatever else holds this process is ended all the same.
    late.unref();
    if (process.connected) process.disconnect();
  };
  // A second one of the same kind does not wait.
  for (const signal of /** @type {const} */ (['SIGTERM', 'SIGINT'])) process.once(signal, shutDown);
  end = shutDown;

  const url = await app.listen({ host, port });
  app.log.info({ url }, 'listening');
  tellParent({ type: 'listening', url });
}

/**
 * For localhost, which has two, Fastify would open a second server, whose requests nobody waits for when it closes.
 * @param {string} host
 */
async function oneAddress(host) {
  return host === 'localhost' ? (await lookup(host)).address : host;
}
