// @ts-check
/**
 * Users who are deleted by another node. The queue is this node's own, and what waits in it would bring them back: so when
 * word comes that something of such a user has changed, Postgres is asked whether anything is left of them. README.md says
 * which word does not come.
 * @import { FastifyBaseLogger } from 'fastify'
 * @import { LoRAStorage, StorageEvents } from 'lora-store'
 * @import { IsGone } from './forgetting.js'
 * @import { TrainingQueue } from './training-queue.js'
 */

/**
 * @param {LoRAStorage} storage
 * @param {FastifyBaseLogger} log
 * @returns {IsGone} Whether nothing is left of a user.
 */
export function goneFrom(storage, log) {
  return async (userId) => {
    try {
      return (await storage.listAdapters(userId)).length === 0;
    } catch (error) {
      log.warn({ err: error }, 'whether a user was deleted is not known yet');
      return undefined;
    }
  };
}

/**
 * Returns what ends it.
 * @param {LoRAStorage} storage
 * @param {TrainingQueue} queue
 * @param {IsGone} isGone
 */
export function forgetDeleted(storage, queue, isGone) {
  const heard = (/** @type {StorageEvents['invalidated'][0]} */ { userId, adapterName, via }) => {
    if (via !== 'self') void queue.forgetting.forgetIf(userId, adapterName, isGone);
  };
  storage.on('invalidated', heard);
  return () => storage.off('invalidated', heard);
}
