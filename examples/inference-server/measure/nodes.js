// @ts-check
/**
 * A server under measurement, in a process of its own.
 * @import { Closing } from '../../servers/closing.js'
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('node.js', import.meta.url));

/**
 * @param {Closing} closing
 * @param {'lora-store' | 'pg'} reads
 * @param {{ users: number, hitRate: number }} scale
 * @param {NodeJS.ProcessEnv} env
 */
export async function startNode(closing, reads, { users, hitRate }, env) {
  const child = fork(program, [reads, String(users), String(hitRate)], { env: { ...process.env, ...env } });
  const ended = once(child, 'exit');
  closing.add(async () => {
    child.kill();
    await ended;
  });
  const answer = async () => {
    const [message] = await Promise.race([once(child, 'message'), ended]);
    if (message === null || typeof message !== 'object')
      throw new Error(`the server over ${reads} ended with ${message}`);
    return message;
  };
  const { url } = await answer();
  return {
    /** @type {string} */ url,
    /** @returns {Promise<{ hits: number, misses: number }>} */
    async memory() {
      child.send('memory?');
      return await answer();
    },
  };
}
