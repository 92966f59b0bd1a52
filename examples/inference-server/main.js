// @ts-check
/**
 * The process: settings from the environment, a storage, the server over it, and the end of all of them. With a parent that
 * forked it (process.send) it also tells that one what it observes.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { LoRAStorage } from 'lora-store';
import { collectDefaultMetrics, Registry } from 'prom-client';
import { buildServer } from './server.js';
import { settings } from './settings.js';

const { host, port, token, name, logLevel, namespace, requestsPerSecond, drainMs, shutdownMs } = settings(process.env);
const lifecycle = { draining: false };
const registry = new Registry();
collectDefaultMetrics({ register: registry });

/** @param {object} message */
const tell = (message) => {
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
};

const storage = await LoRAStorage.open({ createMissingUsers: true, namespace });
const server = { storage, host, token, name, logLevel, requestsPerSecond, lifecycle, registry };
const app = buildServer({ ...server, observe: tell });
const url = await app.listen({ host, port });
app.log.info({ url }, 'listening');
tell({ type: 'listening', url });

/** Not ready; time to be taken out of rotation; requests and trainings end; then the storage closes. All of it in time. */
async function shutDown() {
  if (lifecycle.draining) return;
  lifecycle.draining = true;
  setTimeout(() => {
    app.log.error({ shutdownMs }, 'not closed in time');
    process.exit(1);
  }, shutdownMs).unref();
  app.log.info({ drainMs }, 'draining');
  await delay(drainMs);
  await app.close();
  await storage.close();
  app.log.info('closed');
  if (process.connected) process.disconnect();
}

// A second signal does not wait.
for (const signal of /** @type {const} */ (['SIGTERM', 'SIGINT'])) process.once(signal, shutDown);
if (process.send !== undefined) process.once('disconnect', shutDown);
