/** What a server tells of itself: a log that names nobody, metrics that move, and nothing of the server beside it. */
import { randomUUID } from 'node:crypto';
import { UserLoRAAdapter } from 'lora-store';
import { expect, onTestFinished, test, vi } from 'vitest';
import { waitFor } from '../../support/wait.js';
import { ask, candidates, events, type Message, metric, useServers } from './support.js';

const { bench, serve, openStorage } = useServers();

test('the log has a line for each answer and training, with the pattern of the route, and no user, token or content', async () => {
  const lines: string[] = [];
  const token = 'a-token-that-nobody-guesses';
  const logStream = { write: (line: string) => void lines.push(line) };
  const trained: Message[] = [];
  const observe = (message: Message) => message.type === 'trained' && trained.push(message);
  const app = await serve({ token, logLevel: 'trace', logStream, observe });
  const id = await bench.user();
  const corrupt = await bench.user();
  await bench.sql(
    `insert into lora_adapters (user_id, version, weights, size_bytes) values ($1, 1, '\\xdeadbeef', 4)`,
    [corrupt],
  );
  const url = `/v1/users/${id}`;
  const bearing = { authorization: `Bearer ${token}` };
  await ask(app, 'POST', `${url}/events`, { events }, bearing);
  await waitFor(() => trained.length === 1);
  await ask(app, 'POST', `${url}/rank`, { candidates }, bearing);
  await ask(app, 'GET', `${url}/adapters/nobody`, undefined, bearing);
  await ask(app, 'GET', `/v1/users/${corrupt}/adapters/default`, undefined, bearing);
  await ask(app, 'POST', `/v1/users/${corrupt}/events`, { events }, bearing);
  await ask(app, 'GET', `${url}/adapters/%zz`, undefined, bearing);
  await ask(app, 'GET', `${url}/nothing`, undefined, bearing);
  await ask(app, 'GET', `${url}/adapters`, undefined, { authorization: `Bearer ${token}x` });
  await app.close();

  const logged = lines.map((line) => JSON.parse(line));
  const answers = logged
    .filter(({ msg }) => msg === 'answered')
    .map(({ method, route, status }) => [method, route, status]);
  expect(answers).toEqual(
    expect.arrayContaining([
      ['POST', '/v1/users/:id/events', 202],
      ['POST', '/v1/users/:id/rank', 200],
      ['GET', '/v1/users/:id/adapters/:name', 404],
      ['GET', '/v1/users/:id/adapters/:name', 500],
      ['GET', 'none', 404],
      ['GET', '/v1/users/:id/adapters', 401],
    ]),
  );
  const failed = logged.find(({ msg }) => msg === 'failed');
  expect(failed.err).toMatchObject({
    type: 'AdapterCorruptError',
    code: 'ADAPTER_CORRUPT',
    stack: expect.stringMatching(/^ {4}at /),
  });
  expect(logged.find(({ msg }) => msg === 'a training failed').err.code).toBe('ADAPTER_CORRUPT');
  expect(logged.find(({ msg }) => msg === 'trained')).toMatchObject({ version: 1, events: 10 });
  const all = lines.join('');
  for (const personal of [id, corrupt, token, 'nobody', 'drama', '127.0.0.1', '%zz'])
    expect(all).not.toContain(personal);
});

test('a write to shared weights, found by the guard, is logged without the user whose they are', async () => {
  vi.stubEnv('LORA_STORE_GUARD', '1');
  onTestFinished(() => void vi.unstubAllEnvs());
  const lines: string[] = [];
  const told: Message[] = [];
  const logStream = { write: (line: string) => void lines.push(line) };
  const storage = await openStorage();
  const app = await serve({ storage, logStream, logLevel: 'trace', observe: (message) => told.push(message) });
  const id = await bench.user();
  await storage.saveAdapter(new UserLoRAAdapter(id).initializeRandom(1));
  await storage.loadAdapter(id);
  const { adapter } = await storage.loadAdapterInfo(id);
  (adapter.userLayerWeights.data as Float32Array)[0] = 1;
  await app.inject(`/v1/users/${id}/adapters/default`);
  expect(told).toContainEqual(
    expect.objectContaining({ event: 'corrupt', detail: expect.objectContaining({ userId: id }) }),
  );
  expect(lines.map((line) => JSON.parse(line))).toContainEqual(
    expect.objectContaining({ msg: 'corrupt', tier: 'memory' }),
  );
  expect(lines.join('')).not.toContain(id);
});

test('a rollback is told of, as what was trained is', async () => {
  const told: Message[] = [];
  const app = await serve({ observe: (message: Message) => told.push(message) });
  const id = randomUUID();
  await ask(app, 'POST', `/v1/users/${id}/events`, { events });
  await waitFor(() => told.some(({ type }) => type === 'trained'));
  await ask(app, 'POST', `/v1/users/${id}/adapters/default/rollback`, { version: 1 });
  expect(told).toContainEqual({ type: 'rolledBack', userId: id, version: 2 });
});

test('metrics move, and those of another server in the same process do not', async () => {
  const trained: Message[] = [];
  const observe = (message: Message) => message.type === 'trained' && trained.push(message);
  const [app, other] = [await serve({ observe }), await serve()];
  const url = `/v1/users/${randomUUID()}`;
  await ask(app, 'POST', `${url}/rank`, { candidates });
  await ask(app, 'POST', `${url}/events`, { events });
  await waitFor(() => trained.length === 1);
  await ask(app, 'POST', `${url}/rank`, { candidates });
  const series = {
    'lora_rank_requests_total{outcome="ADAPTER_NOT_FOUND"}': 1,
    'lora_rank_requests_total{outcome="personalised"}': 1,
    'lora_loads_total{tier="memory"}': 1,
    'lora_load_seconds_count{tier="memory"}': 1,
    'lora_trainings_total{result="trained"}': 1,
    'lora_training_events{state="trained"}': 10,
    lora_training_seconds_count: 1,
    'lora_http_request_seconds_count{method="POST",route="/v1/users/:id/rank",status="200"}': 2,
    'lora_cache{part="memory",what="entries"}': 1,
  };
  for (const [name, value] of Object.entries(series)) {
    expect([name, await metric(app, name), await metric(other, name)]).toEqual([name, value, 0]);
  }
});

test('a node hears of what another one saved, and tells it', async () => {
  const seen: Message[] = [];
  const [writer, reader] = [await serve(), await serve({ storage: await openStorage(), observe: (m) => seen.push(m) })];
  const id = randomUUID();
  const url = `/v1/users/${id}`;
  const version = async () => (await ask(reader, 'POST', `${url}/rank`, { candidates })).body.adapter?.version;
  await ask(writer, 'POST', `${url}/events`, { events });
  await waitFor(async () => (await version()) === 1);
  const before = seen.length;
  await ask(writer, 'POST', `${url}/events`, { events });
  await waitFor(async () => (await version()) === 2);
  const heard = ['bus', 'change-feed'].map((via) => metric(reader, `lora_invalidations_total{via="${via}"}`));
  expect(Math.max(...(await Promise.all(heard)))).toBeGreaterThan(0);
  const told = seen.slice(before).find(({ event }) => event === 'invalidated');
  expect(told).toMatchObject({
    type: 'event',
    detail: {
      userId: id,
      adapterName: 'default',
      revision: expect.any(Number),
      via: expect.stringMatching(/^(bus|change-feed)$/),
    },
    at: expect.any(Number),
  });
});
