/** Every route of the inference server, as a client that does everything right meets it. */
import { randomUUID } from 'node:crypto';
import type { FastifyInstance, RouteOptions } from 'fastify';
import { decodeAdapter, encodeAdapter, UserLoRAAdapter } from 'lora-store';
import { beforeAll, describe, expect, test } from 'vitest';
import { waitFor } from '../../support/wait.js';
import { ask, buildServer, candidates, events, type Message, metric, useServers } from './support.js';

const { bench, serve, openStorage } = useServers();
const seen: Message[] = [];
let app: FastifyInstance;

beforeAll(async () => {
  app = await serve({ observe: (message) => seen.push(message) });
});

const of = (type: string) => seen.filter((message) => message.type === type);

/**
 * A user who has been trained on `events` once. seed: of the adapter that this began with; from a random one, ten events leave one
 * in thirty with another taste.
 */
async function trained(seed?: number): Promise<string> {
  const id = randomUUID();
  if (seed !== undefined) await (await openStorage()).saveAdapter(new UserLoRAAdapter(id).initializeRandom(seed));
  const before = of('trained').length;
  expect((await ask(app, 'POST', `/v1/users/${id}/events`, { events })).status).toBe(202);
  await waitFor(() => of('trained').length > before);
  return id;
}

describe('rank', () => {
  test('of an unknown user is the order given, and says why', async () => {
    const id = randomUUID();
    const { status, body } = await ask(app, 'POST', `/v1/users/${id}/rank`, { candidates });
    expect([status, body]).toEqual([
      200,
      { ranked: candidates.map((id) => ({ id, score: 0 })), adapter: null, fallback: 'ADAPTER_NOT_FOUND' },
    ]);
    expect(seen.at(-1)).toMatchObject({
      type: 'event',
      event: 'fallback',
      detail: { userId: id, adapterName: 'default' },
    });
  });

  test('of one who watches drama has drama first, from the tier that it names, in one load', async () => {
    const id = await trained(1);
    const loads = of('load').length;
    const { body } = await ask(app, 'POST', `/v1/users/${id}/rank`, { candidates });
    expect(body.ranked.map(({ id }: { id: string }) => id.slice(0, 5))).toEqual(['drama', 'drama', 'news-', 'news-']);
    const scores = body.ranked.map(({ score }: { score: number }) => score);
    expect(scores).toEqual(scores.toSorted((a: number, b: number) => b - a));
    expect(body.adapter).toMatchObject({ name: 'default', version: 2, tier: 'memory', stale: false });
    expect(of('load').slice(loads)).toEqual([
      {
        type: 'load',
        tier: 'memory',
        stale: false,
        verifiedAgeMs: body.adapter.verifiedAgeMs,
        milliseconds: expect.any(Number),
      },
    ]);
  });

  test('names the tier: Postgres where there is no other', async () => {
    const id = await trained();
    const bare = await serve({ storage: await openStorage({ memory: false, redis: false }) });
    const { body } = await ask(bare, 'POST', `/v1/users/${id}/rank`, { candidates });
    expect([body.adapter.tier, body.fallback]).toEqual(['postgres', null]);
    expect(await metric(bare, 'lora_loads_total{tier="postgres"}')).toBe(1);
  });

  test('keeps the order of ties', async () => {
    const id = await trained(1);
    const twice = ['drama-06', 'news-06', 'drama-06', 'news-06'];
    const { body } = await ask(app, 'POST', `/v1/users/${id}/rank`, { candidates: twice });
    expect(body.ranked.map(({ id }: { id: string }) => id)).toEqual(['drama-06', 'drama-06', 'news-06', 'news-06']);
  });

  test('by an adapter of another shape than the catalogue is the order given', async () => {
    const id = await bench.user();
    await (await openStorage()).saveAdapter(new UserLoRAAdapter(id, { rank: 2, inputDim: 3, outputDim: 4 }));
    const { status, body } = await ask(app, 'POST', `/v1/users/${id}/rank`, { candidates });
    expect([status, body.fallback, body.ranked[0].id]).toEqual([200, 'ADAPTER_UNFIT', candidates[0]]);
  });

  test('by the adapter that is asked for', async () => {
    const id = randomUUID();
    await ask(app, 'POST', `/v1/users/${id}/events`, { events, adapterName: 'other' });
    const request = { candidates, adapterName: 'other' };
    const body = await waitFor(async () => {
      const answer = await ask(app, 'POST', `/v1/users/${id}/rank`, request);
      return answer.body.adapter && answer.body;
    });
    expect(body.adapter.name).toBe('other');
    expect((await ask(app, 'POST', `/v1/users/${id}/rank`, { candidates })).body.fallback).toBe('ADAPTER_NOT_FOUND');
  });
});

test('events are accepted, and what was learned is told', async () => {
  const id = randomUUID();
  const before = of('trained').length;
  const { status, body } = await ask(app, 'POST', `/v1/users/${id}/events`, { events });
  expect([status, body]).toEqual([202, { accepted: 10, waiting: 10 }]);
  await waitFor(() => of('trained').length > before);
  const [told] = of('trained').slice(before);
  expect(told).toMatchObject({ version: 1, events: 10, milliseconds: expect.any(Number) });
  expect(told?.lossLast).toBeLessThan(told?.lossFirst as number);
});

describe('adapters', () => {
  test('are listed, every version of every name', async () => {
    const id = await trained();
    const { status, body } = await ask(app, 'GET', `/v1/users/${id}/adapters`);
    const row = { name: 'default', version: 1, sizeBytes: 41_052, trainingIterations: 1 };
    expect([status, body]).toEqual([200, { adapters: [expect.objectContaining(row)] }]);
    expect(Date.parse(body.adapters[0].createdAt)).not.toBeNaN();
    expect((await ask(app, 'GET', `/v1/users/${randomUUID()}/adapters`)).body).toEqual({ adapters: [] });
  });

  test('are described, the latest with where it came from', async () => {
    const id = await trained();
    const shape = {
      rank: 8,
      inputDim: 512,
      outputDim: 768,
      trainingIterations: 1,
      lastTrainedTime: expect.any(String),
    };
    const { body, headers } = await ask(app, 'GET', `/v1/users/${id}/adapters/default`);
    const where = { tier: 'memory', stale: false, verifiedAgeMs: expect.any(Number), revision: expect.any(Number) };
    expect(body).toEqual({ name: 'default', version: 1, ...where, ...shape });
    expect(headers.etag).toBe(`"${body.revision}"`);
    const old = await ask(app, 'GET', `/v1/users/${id}/adapters/default/versions/1`);
    expect(old.body).toEqual({ name: 'default', version: 1, ...shape });
  });

  test('are served as the record that was saved, also where Redis holds half of it', async () => {
    const id = await bench.user();
    const saved = new UserLoRAAdapter(id).initializeRandom(1);
    const half = await openStorage({ redisEncoding: 'f16', namespace: `${bench.namespace}-half`, memory: false });
    await half.saveAdapter(saved);
    await waitFor(async () => (await half.loadAdapterInfo(id)).tier === 'redis');
    const node = await serve({ storage: half });
    const accept = { accept: 'application/octet-stream' };
    for (const path of ['default', 'default/versions/1']) {
      const answer = await node.inject({ url: `/v1/users/${id}/adapters/${path}`, headers: accept });
      expect(answer.headers).toMatchObject({ 'content-type': 'application/octet-stream', 'lora-version': '1' });
      expect(answer.rawPayload.equals(encodeAdapter(saved))).toBe(true);
      expect(decodeAdapter(answer.rawPayload).userId).toBe(id);
    }
  });

  test('are rolled back, and deleted by version, by name and all of them', async () => {
    const id = await trained();
    const url = `/v1/users/${id}/adapters`;
    const answers = [
      await ask(app, 'POST', `${url}/default/rollback`, { version: 1 }),
      await ask(app, 'DELETE', `${url}/default/versions/1`),
      await ask(app, 'DELETE', `${url}/default`),
    ];
    expect(answers.map(({ status, body }) => [status, body])).toEqual([
      [200, { version: 2 }],
      [200, { deleted: 1 }],
      [200, { deleted: 1 }],
    ]);
    await ask(app, 'POST', `/v1/users/${id}/events`, { events });
    await waitFor(async () => (await ask(app, 'GET', url)).body.adapters.length === 1);
    expect((await ask(app, 'DELETE', url)).body).toEqual({ deleted: 1 });
    expect((await ask(app, 'GET', url)).body).toEqual({ adapters: [] });
    expect(await bench.sql('select from lora_adapter_heads where user_id = $1', [id])).toEqual([]);
  });

  test('of names that take some encoding', async () => {
    const id = await bench.user();
    const name = '試/🎬'.repeat(33);
    await (await openStorage()).saveAdapter(new UserLoRAAdapter(id).initializeRandom(1), name);
    const { status, body } = await ask(app, 'GET', `/v1/users/${id}/adapters/${encodeURIComponent(name)}`);
    expect([status, body.name]).toEqual([200, name]);
  });
});

test('probes and metrics answer', async () => {
  expect((await ask(app, 'GET', '/healthz')).body).toEqual({ status: 'alive' });
  expect((await ask(app, 'GET', '/readyz')).body).toEqual({
    status: 'ready',
    postgres: 'up',
    redis: 'up',
    bus: 'live',
    changeFeed: 'live',
  });
  const metrics = await app.inject('/metrics');
  expect(metrics.headers['content-type']).toMatch('text/plain; version=0.0.4');
});

test('each route says what it takes and what it answers', async () => {
  const bare = buildServer({ storage: await openStorage(), logLevel: 'silent' });
  const routes: RouteOptions[] = [];
  bare.addHook('onRoute', (route) => void routes.push(route));
  await bare.ready();
  await bare.close();
  const missing = routes.flatMap(({ method, url, schema = {} }) => {
    const takes = [url.includes(':') && 'params', 'querystring', method === 'POST' && 'body', 'response'] as const;
    const answers = Object.keys(schema.response ?? {});
    const absent = takes.filter((part) => part && schema[part] === undefined);
    const untold = ['20', '4xx', '5xx'].filter((status) => !answers.some((answer) => answer.startsWith(status)));
    return [...absent, ...untold].map((part) => `${method} ${url}: ${part}`);
  });
  expect(missing).toEqual([]);
  const told = routes.filter(({ method }) => method !== 'HEAD').map(({ method, url }) => `${method} ${url}`);
  expect(told.sort()).toEqual([
    'DELETE /v1/users/:id/adapters',
    'DELETE /v1/users/:id/adapters/:name',
    'DELETE /v1/users/:id/adapters/:name/versions/:version',
    'GET /healthz',
    'GET /metrics',
    'GET /readyz',
    'GET /v1/users/:id/adapters',
    'GET /v1/users/:id/adapters/:name',
    'GET /v1/users/:id/adapters/:name/versions/:version',
    'POST /v1/users/:id/adapters/:name/rollback',
    'POST /v1/users/:id/events',
    'POST /v1/users/:id/rank',
  ]);
});
