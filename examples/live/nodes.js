// @ts-check
/**
 * The two inference servers, each a process of its own, as they would run on two machines. What they observe comes back as
 * messages; what they are asked goes to them over HTTP, as from anybody.
 * @import { Closing } from '../servers/closing.js'
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('../inference-server/main.js', import.meta.url));
const PATIENCE_MS = 15_000;
/** More than a node gives itself (SHUTDOWN_MS). */
const SHUTDOWN_MS = 25_000;

/** @typedef {{ name: string, pid: number, url: string, token: string | undefined, readonly running: boolean }} Node */
/** @typedef {{ type: string } & Record<string, any>} Message */

/**
 * @param {Closing} closing
 * @param {string} name
 * @param {NodeJS.ProcessEnv} env
 * @param {(message: Message) => void} hear
 * @param {number} [shutdownMs] After which it is killed: one that hangs hears no SIGTERM.
 * @returns {Promise<Node>}
 */
export async function startNode(closing, name, env, hear, shutdownMs = SHUTDOWN_MS) {
  const own = { HOST: '127.0.0.1', PORT: '0', NODE_NAME: name, LOG_LEVEL: 'error', REQUESTS_PER_SECOND: '0' };
  const child = fork(program, { env: { ...process.env, ...env, ...own }, execArgv: [] });
  let running = true;
  const ended = once(child, 'exit').then(() => (running = false));
  closing.add(async () => {
    child.kill();
    const late = setTimeout(() => child.kill('SIGKILL'), shutdownMs);
    await ended;
    clearTimeout(late);
  });
  const listening = new Promise((resolve) => {
    child.on('message', (/** @type {Message} */ message) =>
      message.type === 'listening' ? resolve(message.url) : hear(message),
    );
  });
  const url = await Promise.race([listening, ended]);
  if (typeof url !== 'string') throw new Error(`node ${name} does not start`);
  return {
    name,
    pid: child.pid ?? 0,
    url,
    token: env.LORA_STORE_API_TOKEN,
    get running() {
      return running;
    },
  };
}

/**
 * Its answer, of whichever status. A node that gives none is an error that names it.
 * @param {Pick<Node, 'name' | 'url' | 'token'>} node
 * @param {string} path
 * @param {object} [body] POST; without one GET.
 * @param {number} [patienceMs]
 * @returns {Promise<{ status: number, body: any }>}
 */
export async function ask({ name, url, token }, path, body, patienceMs = PATIENCE_MS) {
  const headers = { authorization: `Bearer ${token}`, ...(body && { 'content-type': 'application/json' }) };
  const post = body && { method: 'POST', body: JSON.stringify(body) };
  const signal = AbortSignal.timeout(patienceMs);
  try {
    const response = await fetch(new URL(path, url), { ...post, headers, signal });
    return { status: response.status, body: await response.json() };
  } catch (cause) {
    const what = signal.aborted ? `has not answered within ${patienceMs / 1000} s` : 'cannot be reached';
    throw new Error(`Node ${name} ${what}.`, { cause });
  }
}
