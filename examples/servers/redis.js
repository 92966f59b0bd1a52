// @ts-check
/**
 * A Redis: the one REDIS_URL names, or one started here from redis-server or valkey-server on PATH, in memory only.
 * Neither: the demo runs on two tiers, as a node does whose Redis is away.
 * @import { Closing } from './closing.js'
 * @import { AddressInfo } from 'node:net'
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';

const START_MS = 10_000;
/** ioredis would take it; the package takes no host:port, and what the live page puts before Redis needs a host to go to. */
const OTHER_FORM = 'write it as redis://host:port or rediss://host:port';

/** So that the server ends with us even when we are killed: its sentinel reads from a pipe that only we hold open. */
const SENTINEL = 'exec 3<&0; { read -r _ <&3; kill "$$"; } & exec "$@" 3<&- </dev/null';

/**
 * @param {Closing} closing
 * @returns {Promise<{ url: string | false, words: string }>} false: none, two tiers.
 */
export async function getRedis(closing) {
  const given = process.env.REDIS_URL;
  if (given) {
    const { version, reason } = isRedisUrl(given) ? await greet(given) : { version: undefined, reason: OTHER_FORM };
    if (version !== undefined) return { url: given, words: `${version}, named by REDIS_URL` };
    return {
      url: false,
      words: `none: REDIS_URL names one that cannot be used (${reason}). Two tiers, memory and Postgres`,
    };
  }
  const program = findOnPath(['redis-server', 'valkey-server']);
  if (program === undefined) {
    return { url: false, words: 'none: no REDIS_URL, no redis-server on PATH. Two tiers, memory and Postgres' };
  }
  const url = await start(program, closing);
  return { url, words: `${(await greet(url)).version}, started here on ${new URL(url).host}` };
}

/** @param {string} text */
function isRedisUrl(text) {
  return /^rediss?:\/\/[^/]/.test(text) && URL.canParse(text);
}

/**
 * @param {string} program
 * @param {Closing} closing
 */
async function start(program, closing) {
  const port = await freePort();
  const settings = { port, bind: '127.0.0.1', dir: tmpdir(), save: '', appendonly: 'no', loglevel: 'warning' };
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
  // Detached, or Ctrl-C would end it before the nodes that still use it are closed.
  const server = spawn('/bin/sh', ['-c', SENTINEL, 'sh', program, ...args], { detached: true });
  let said = '';
  for (const output of [server.stdout, server.stderr]) output.on('data', (text) => (said += text));
  let ended = false;
  const end = once(server, 'close').then(() => (ended = true));
  closing.add(async () => {
    server.stdin.end();
    await end;
  });
  const url = `redis://127.0.0.1:${port}`;
  for (const deadline = performance.now() + START_MS; (await greet(url)).version === undefined; await delay(20)) {
    if (ended || performance.now() > deadline) throw new Error(`${program} does not start: ${said.trim()}`);
  }
  return url;
}

/**
 * Its version, or why there is none: nobody answers, the certificate is not trusted, the password is wrong.
 * @param {string} url
 * @returns {Promise<{ version?: string | undefined, reason?: string }>}
 */
async function greet(url) {
  const client = new Redis(url, { lazyConnect: true, retryStrategy: () => null, connectTimeout: 2000 });
  // connect() rejects with 'Connection is closed'; why it is closed comes as an event.
  /** @type {(Error & { code?: string }) | undefined} */
  let cause;
  client.on('error', (error) => (cause ??= error));
  try {
    await client.connect();
    return { version: /redis_version:(\S+)/.exec(await client.info('server'))?.[1] };
  } catch (error) {
    const { message, code } = cause ?? /** @type {Error & { code?: string }} */ (error);
    // Of a name with several addresses there is only a code.
    return { reason: message || (code ?? 'nothing') };
  } finally {
    client.disconnect();
  }
}

/** @param {string[]} names */
function findOnPath(names) {
  const directories = (process.env.PATH ?? '').split(delimiter).filter((directory) => directory !== '');
  return names.flatMap((name) => directories.map((directory) => join(directory, name))).find(isExecutable);
}

/** @param {string} path */
function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = /** @type {AddressInfo} */ (probe.address());
  probe.close();
  await once(probe, 'close');
  return port;
}
