// @ts-check
/**
 * Storage objects, as inference servers would open them: each has a memory of its own, all share Redis and Postgres.
 * @import { Closing } from '../servers/closing.js'
 * @import { LoRAStorageOptions } from 'lora-store'
 */
import { LoRAStorage } from 'lora-store';

/** @typedef {ReturnType<typeof openNodes>} Nodes */

/**
 * @param {Closing} closing
 * @param {string} postgres
 * @param {string | false} redis
 */
export function openNodes(closing, postgres, redis) {
  return {
    postgres,
    hasRedis: redis !== false,

    /**
     * Close it when it is done; what is forgotten is closed with the demo.
     * @param {LoRAStorageOptions} [options]
     */
    async open(options) {
      const node = await LoRAStorage.open({
        postgres,
        redis,
        namespace: 'lora-demo',
        createMissingUsers: true,
        // More patient than a server would be: a machine that is busy with something else shall show its tiers too.
        redisTimeoutMs: 1000,
        ...options,
      });
      closing.add(() => node.close());
      return node;
    },
  };
}
