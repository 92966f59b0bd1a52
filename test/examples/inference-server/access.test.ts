/** Who gets in: with the token only, nobody too often, and nobody from elsewhere into a server without one. */
import { randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import { waitFor } from '../../support/wait.js';
import { ask, buildServer, candidates, problemOf, type Request, useServers } from './support.js';

const { serve, openStorage } = useServers();
const token = 'a-token-that-nobody-guesses';
const url = `/v1/users/${randomUUID()}/rank`;
const rank: Request = ['POST', url, { candidates }];
const bearing = (authorization: string): Request => ['POST', url, { candidates }, { authorization }];

test('with a token, only whoever bears it passes; probes are open', async () => {
  const app = await serve({ host: '0.0.0.0', token });
  expect((await ask(app, ...bearing(`Bearer ${token}`))).status).toBe(200);
  expect((await ask(app, ...bearing(`bearer ${token}`))).status).toBe(200);
  for (const wrong of ['', 'Bearer', `Bearer ${token}x`, `Bearer ${token.slice(1)}`, `Basic ${token}`, token]) {
    expect([wrong, ...(await problemOf(app, ...bearing(wrong)))]).toEqual([wrong, 401, 'unauthorized']);
  }
  const refused = await ask(app, ...rank);
  expect([refused.status, refused.headers['www-authenticate']]).toEqual([401, 'Bearer']);
  expect(await problemOf(app, 'GET', '/metrics')).toEqual([401, 'unauthorized']);
  expect((await ask(app, 'GET', '/healthz')).status).toBe(200);
  expect((await ask(app, 'GET', '/readyz')).status).toBe(200);
});

test('a body is not read before the token was', async () => {
  const app = await serve({ token });
  const payload = { candidates: ['x'.repeat(400_000)] };
  expect(await problemOf(app, 'POST', url, payload)).toEqual([401, 'unauthorized']);
});

test('on loopback no token is needed, anywhere else it is, and a guessable one is none', async () => {
  const storage = await openStorage();
  const build = (host: string, token?: string) =>
    buildServer({ storage, host, logLevel: 'silent', ...(token !== undefined && { token }) }).close();
  for (const host of ['127.0.0.1', '127.8.8.8', '::1', 'localhost']) await build(host);
  for (const host of ['0.0.0.0', '::', '10.0.0.1', '127.0.0.1.example.org', 'localhost.example.org', '']) {
    expect(() => build(host)).toThrow(/without an API token.*set LORA_STORE_API_TOKEN.*or HOST=127\.0\.0\.1/);
    expect(() => build(host, '')).toThrow(/without an API token/);
  }
  expect(() => build('127.0.0.1', 'short')).toThrow(/shorter than 16 characters/);
  await build('0.0.0.0', token);
});

test('too many requests of one client are a 429 that says when to come again; guesses and wrong paths count, probes do not', async () => {
  const app = await serve({ token, requestsPerSecond: 3 });
  expect((await ask(app, ...bearing(`Bearer ${token}`))).status).toBe(200);
  expect(await problemOf(app, ...bearing('Bearer guess'))).toEqual([401, 'unauthorized']);
  expect(await problemOf(app, 'GET', '/nothing')).toEqual([404, 'not-found']);
  const { status, body, headers } = await ask(app, ...bearing(`Bearer ${token}`));
  expect([status, body.type]).toEqual([429, 'urn:lora-store:problem:too-many-requests']);
  expect(Number(headers['retry-after'])).toBe(1);
  expect(await problemOf(app, 'GET', '/nothing')).toEqual([429, 'too-many-requests']);
  for (let i = 0; i < 5; i++) expect((await ask(app, 'GET', '/healthz')).status).toBe(200);
});

test('a token is guessed at /metrics no faster than anywhere else, and URLs that are none count', async () => {
  const requests: [Request, number][] = [
    [['GET', '/metrics', undefined, { authorization: 'Bearer a-guess' }], 401],
    [['GET', '/v1/%zz'], 400],
  ];
  for (const [request, status] of requests) {
    const app = await serve({ token, requestsPerSecond: 3 });
    const answers: number[] = [];
    // However slow this machine is, four fit into a second at some time.
    await waitFor(async () => answers.push((await problemOf(app, ...request))[0]) && answers.at(-1) === 429);
    expect(new Set(answers)).toEqual(new Set([status, 429]));
  }
});

test('with a limit of 0 there is none, for paths and URLs that are none either', async () => {
  const app = await serve({ requestsPerSecond: 0 });
  for (let i = 0; i < 3; i++) {
    expect((await ask(app, ...rank)).status).toBe(200);
    expect(await problemOf(app, 'GET', '/nothing')).toEqual([404, 'not-found']);
    expect(await problemOf(app, 'GET', '/v1/%zz')).toEqual([400, 'bad-url']);
  }
});
