// @ts-check
/**
 * Users who are deleted by another node. The queue is this node's own, and what waits in it would bring them back: so when
 * word comes that something of such a user has changed, Postgres is asked whether anything is left of them. README.md says
 * which word does not come.
 * @import { FastifyBaseLogger } from 'fastify'
 * @import { LoRAStorage, StorageEvents } from 'lora-store'
 * @import { TrainingQueue } from './training-queue.js'
 */

/**
 * Returns what ends it.
 * @param {LoRAStorage} storage
 * @param {TrainingQueue} queue
 * @param {FastifyBaseLogger} log
 */
export function forgetDeleted(storage, queue, log) {
  const isGone = async (/** @type {string} */ userId) => {
    try {
      return (await storage.listAdapters(userId)).length === 0;
    } catch (error) {
      log.warn({ err: error }, 'whether a user was deleted is not known yet');
      return undefined;
    }
  };
  const heard = (/** @type {StorageEvents['invalidated'][0]} */ { userId, via }) => {
    if (via !== 'self') void queue.forgetIf(userId, () => isGone(userId));
  };
  storage.on('invalidated', heard);
  return () => storage.off('invalidated', heard);
}
