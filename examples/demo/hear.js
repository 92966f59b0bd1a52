// @ts-check
/**
 * When a node hears that an adapter has changed.
 * @import { LoRAStorage, StorageEvents } from 'lora-store'
 */

const CHANNELS = { bus: 'Redis pub/sub', 'change-feed': 'Postgres NOTIFY', self: 'its own write' };

/** Without a message it finds out by itself, when the lease of its ear has run out; nobody has to wait for that here. */
const PATIENCE_MS = 10_000;

/**
 * Resolves with who told it and when (performance.now()), or undefined when nobody did.
 * @param {LoRAStorage} node
 * @param {string} userId
 * @param {string} adapterName
 * @returns {Promise<{ via: string, at: number } | undefined>}
 */
export function hear(node, userId, adapterName) {
  return new Promise((resolve) => {
    /** @param {StorageEvents['invalidated'][0]} event */
    const listener = (event) => {
      if (event.userId === userId && event.adapterName === adapterName)
        done({ via: CHANNELS[event.via], at: performance.now() });
    };
    /** @param {{ via: string, at: number }} [heard] */
    const done = (heard) => {
      clearTimeout(timer);
      node.off('invalidated', listener);
      resolve(heard);
    };
    const timer = setTimeout(done, PATIENCE_MS);
    node.on('invalidated', listener);
  });
}
