/** Servers that lose what is behind them: without Postgres not ready, without Redis degraded, and both heal. */
import { randomUUID } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { proxyTo } from '../../storage/faults/support.js';
import { redisUrl } from '../../support/redis.js';
import { waitFor } from '../../support/wait.js';
import { ask, candidates, catalogue, events, type Message, metric, problemOf, useServers } from './support.js';

const { bench, serve, openStorage } = useServers();

test('without Postgres: 503 with when to come again, not ready for that reason, and a ranking all the same', async () => {
  const proxy = await proxyTo(bench.postgresUrl);
  const storage = await openStorage({ postgres: proxy.url(bench.postgresUrl) });
  const app = await serve({ storage });
  const user = `/v1/users/${randomUUID()}`;
  proxy.cut();
  const { status, type, body, headers } = await ask(app, 'GET', `${user}/adapters`);
  expect([status, type, body.type]).toEqual([
    503,
    'application/problem+json',
    'urn:lora-store:problem:storage-unavailable',
  ]);
  expect(headers['retry-after']).toBe('1');
  expect(await problemOf(app, 'POST', `${user}/adapters/default/rollback`, { version: 1 })).toEqual([
    503,
    'storage-unavailable',
  ]);
  const probe = await ask(app, 'GET', '/readyz');
  expect([probe.status, probe.type, probe.body]).toMatchObject([
    503,
    'application/problem+json',
    { detail: 'Postgres does not answer.', postgres: 'down', redis: 'up' },
  ]);
  expect((await ask(app, 'GET', '/healthz')).status).toBe(200);
  const ranking = await ask(app, 'POST', `${user}/rank`, { candidates });
  expect([ranking.status, ranking.body.fallback]).toEqual([200, 'STORAGE_UNAVAILABLE']);
  proxy.heal();
  await waitFor(async () => (await ask(app, 'GET', '/readyz')).body.status === 'ready');
  await app.close();
  await storage.close();
  await proxy.close();
});

test('without Redis: ready and degraded, ranks from Postgres, and says so in metrics and events until it is back', async () => {
  const proxy = await proxyTo(redisUrl());
  const storage = await openStorage({ redis: proxy.url(redisUrl()), memory: false });
  const seen: Message[] = [];
  const app = await serve({ storage, observe: (message) => seen.push(message) });
  const told = (event: string, tier: string) =>
    seen.some((message) => message.event === event && (message.detail as { tier?: string }).tier === tier);
  const url = `/v1/users/${randomUUID()}`;
  await ask(app, 'POST', `${url}/events`, { events });
  const rank = async () => (await ask(app, 'POST', `${url}/rank`, { candidates })).body;
  await waitFor(async () => (await rank()).adapter?.tier === 'redis');

  proxy.cut();
  await waitFor(async () => (await rank()).adapter?.tier === 'postgres');
  const probe = await ask(app, 'GET', '/readyz');
  expect([probe.status, probe.body.status, probe.body.redis, probe.body.postgres]).toEqual([
    200,
    'degraded',
    'down',
    'up',
  ]);
  await waitFor(() => told('degraded', 'redis') && told('degraded', 'bus'));
  expect(await metric(app, 'lora_degraded{part="redis"}')).toBe(1);
  const message = seen.find(({ event }) => event === 'degraded');
  expect(message).toEqual(JSON.parse(JSON.stringify(message)));
  expect(message).toMatchObject({ type: 'event', detail: { cause: expect.any(String) }, at: expect.any(Number) });

  proxy.heal();
  await waitFor(async () => (await rank()).adapter?.tier === 'redis' && told('recovered', 'redis'));
  await waitFor(async () => (await ask(app, 'GET', '/readyz')).body.status === 'ready');
  expect(await metric(app, 'lora_degraded{part="redis"}')).toBe(0);
  await app.close();
  await storage.close();
  await proxy.close();
});

test('a server that starts without Redis says from its start that the bus is degraded', async () => {
  const proxy = await proxyTo(redisUrl());
  proxy.cut();
  const storage = await openStorage({ redis: proxy.url(redisUrl()) });
  const app = await serve({ storage });
  expect(await metric(app, 'lora_degraded{part="bus"}')).toBe(1);
  await app.close();
  await storage.close();
  await proxy.close();
});

describe('a catalogue that', () => {
  const failures: [string, () => Promise<never>][] = [
    [
      'throws',
      () => {
        throw new Error('secret');
      },
    ],
    ['rejects', () => Promise.reject(new Error('secret'))],
    ['does not answer', () => new Promise(() => {})],
  ];
  test.each(failures)('%s: 503 with when to come again, and why in the log', async (_, fail) => {
    const user = `/v1/users/${randomUUID()}`;
    const lines: string[] = [];
    const logStream = { write: (line: string) => void lines.push(line) };
    const options = { logStream, logLevel: 'error', catalogueTimeoutMs: 50 };
    const bare = await serve({ catalogue: { ...catalogue, embeddings: fail }, ...options });
    const strange = await serve({ catalogue: { ...catalogue, preference: fail }, ...options });
    const answers = [
      await ask(bare, 'POST', `${user}/events`, { events }),
      await ask(bare, 'POST', `${user}/rank`, { candidates }),
      await ask(strange, 'POST', `${user}/rank`, { candidates }),
    ];
    for (const { status, type, body, headers } of answers) {
      expect([status, type, body.type]).toEqual([
        503,
        'application/problem+json',
        'urn:lora-store:problem:catalogue-unavailable',
      ]);
      expect([headers['retry-after'], body.detail]).toEqual(['1', 'The catalogue does not answer.']);
    }
    expect(lines).toHaveLength(3);
    for (const line of lines) {
      expect(JSON.parse(line)).toMatchObject({
        msg: 'failed',
        err: { code: 'CATALOGUE_UNAVAILABLE', cause: { type: 'Error' } },
      });
      expect(line).not.toContain('secret');
    }
  });
});
