// @ts-check
/**
 * The API token. Promises: whoever can reach this server from another machine needs it, and how long a comparison takes
 * says nothing about it.
 * @import { FastifyReply, FastifyRequest } from 'fastify'
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { isIP } from 'node:net';
import { Problem } from './problems.js';

/** What nobody guesses at the pace that the rate limit leaves. */
const MIN_LENGTH = 16;

/**
 * Throws where a server on this host would be open to anybody.
 * @param {string} host
 * @param {string | undefined} token
 */
export function expectGuarded(host, token) {
  if (token === undefined || token === '') {
    if (isLoopback(host)) return;
    throw new Error(
      `refusing to listen on ${host} without an API token, for everybody who can reach it: set LORA_STORE_API_TOKEN ` +
        '(openssl rand -hex 32 makes one), or HOST=127.0.0.1',
    );
  }
  if (token.length < MIN_LENGTH) {
    throw new Error(
      `LORA_STORE_API_TOKEN is shorter than ${MIN_LENGTH} characters: openssl rand -hex 32 makes a good one`,
    );
  }
}

/**
 * A hook that lets nobody pass without the token; everybody where there is none.
 * @param {string | undefined} token
 */
export function guard(token) {
  const expected = token ? digest(token) : undefined;
  return async (/** @type {FastifyRequest} */ request, /** @type {FastifyReply} */ reply) => {
    if (expected === undefined) return;
    const [, given = ''] = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '') ?? [];
    // Digests are of one length, whatever was given.
    if (timingSafeEqual(digest(given), expected)) return;
    reply.header('www-authenticate', 'Bearer');
    throw new Problem(401, 'UNAUTHORIZED', 'This needs the header authorization: Bearer <API token>.');
  };
}

/** @param {string} text */
function digest(text) {
  return createHash('sha256').update(text).digest();
}

/** @param {string} host */
function isLoopback(host) {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}
