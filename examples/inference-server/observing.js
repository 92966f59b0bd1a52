// @ts-check
/**
 * What the storage reports, and what its loads cost, told to metrics, to the log and to whoever observes this server (the
 * live page, say). The log hears no names.
 * @import { FastifyBaseLogger } from 'fastify'
 * @import { CallOptions, LoadedAdapter, LoRAStorage, StorageEvents } from 'lora-store'
 * @import { Metrics } from './metrics.js'
 */
/** @typedef {{ type: 'load', tier: string, milliseconds: number, stale: boolean, verifiedAgeMs: number }} LoadMessage */
/** @typedef {{ type: 'event', event: string, detail: object, at: number }} EventMessage */
/**
 * @typedef {object} TrainedMessage
 * @property {'trained'} type
 * @property {string} userId
 * @property {number} version
 * @property {number} events
 * @property {number | undefined} lossFirst
 * @property {number | undefined} lossLast
 * @property {number} milliseconds
 */
/** @typedef {{ type: 'rolledBack', userId: string, version: number }} RolledBackMessage */
/** @typedef {(message: LoadMessage | EventMessage | TrainedMessage | RolledBackMessage) => void} Observe */
/** @typedef {(userId: string, adapterName: string, options?: CallOptions) => Promise<LoadedAdapter>} Load */

/**
 * storage.loadAdapterInfo, measured.
 * @param {LoRAStorage} storage
 * @param {Metrics} metrics
 * @param {Observe} observe
 * @returns {Load}
 */
export function measuredLoad(storage, metrics, observe) {
  return async (userId, adapterName, options) => {
    const begun = performance.now();
    const loaded = await storage.loadAdapterInfo(userId, adapterName, options);
    const milliseconds = performance.now() - begun;
    const { tier, stale, verifiedAgeMs } = loaded;
    metrics.loads.inc({ tier });
    metrics.loadSeconds.observe({ tier }, milliseconds / 1000);
    if (stale) metrics.staleLoads.inc();
    observe({ type: 'load', tier, milliseconds, stale, verifiedAgeMs });
    return loaded;
  };
}

/**
 * Returns what ends the listening.
 * @param {LoRAStorage} storage
 * @param {Metrics} metrics
 * @param {FastifyBaseLogger} log
 * @param {Observe} observe
 */
export function listen(storage, metrics, log, observe) {
  /** @type {{ [E in keyof StorageEvents]?: (detail: StorageEvents[E][0]) => void }} */
  const listeners = {
    degraded({ tier, cause }) {
      metrics.degraded.set({ part: tier }, 1);
      log.warn({ part: tier, err: cause }, 'degraded');
      tell('degraded', { tier, cause: cause.message });
    },
    recovered({ tier, afterMs }) {
      metrics.degraded.set({ part: tier }, 0);
      log.info({ part: tier, afterMs }, 'recovered');
      tell('recovered', { tier, afterMs });
    },
    corrupt(detail) {
      metrics.corrupt.inc({ tier: detail.tier });
      // The reason may name a user: under LORA_STORE_GUARD it is the message of an error.
      log.error({ tier: detail.tier }, 'corrupt');
      tell('corrupt', detail);
    },
    invalidated(detail) {
      metrics.invalidations.inc({ via: detail.via });
      tell('invalidated', detail);
    },
  };
  const tell = (/** @type {string} */ event, /** @type {object} */ detail) =>
    observe({ type: 'event', event, detail: { ...detail }, at: wallClock() });
  const entries = /** @type {[keyof StorageEvents, (detail: any) => void][]} */ (Object.entries(listeners));
  for (const [event, listener] of entries) storage.on(event, listener);
  return () => {
    for (const [event, listener] of entries) storage.off(event, listener);
  };
}

/**
 * What was degraded before anybody listened: a storage opens without Redis, too.
 * @param {LoRAStorage} storage
 * @param {Metrics} metrics
 */
export async function readDegraded(storage, metrics) {
  const { bus, changeFeed } = await storage.health();
  metrics.degraded.set({ part: 'bus' }, bus === 'down' ? 1 : 0);
  metrics.degraded.set({ part: 'change-feed' }, changeFeed === 'down' ? 1 : 0);
}

/** Milliseconds since 1970, finer than Date.now(): news between two nodes takes less than one. */
function wallClock() {
  return performance.timeOrigin + performance.now();
}

/**
 * A ranking goes on without an adapter.
 * @param {Observe} observe
 * @param {string} userId
 * @param {string} adapterName
 * @param {Error} error
 */
export function tellFallback(observe, userId, adapterName, { message }) {
  observe({ type: 'event', event: 'fallback', detail: { userId, adapterName, cause: message }, at: wallClock() });
}
