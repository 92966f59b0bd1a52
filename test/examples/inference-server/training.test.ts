/** Events of a user: trained together where they can be, once each, and never more of them than there is room for. */
import { randomUUID } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import { describe, expect, onTestFinished, test } from 'vitest';
import { proxyTo } from '../../storage/faults/support.js';
import { waitFor } from '../../support/wait.js';
import {
  ask,
  catalogue,
  eventCounts,
  events,
  gatedCatalogue,
  type Message,
  metric,
  problemOf,
  useServers,
} from './support.js';

const { bench, serve, openStorage } = useServers();

const post = (app: FastifyInstance, id: string, count = 10) =>
  ask(app, 'POST', `/v1/users/${id}/events`, { events: events.slice(0, count) });
const waiting = async (app: FastifyInstance) => (await eventCounts(app)).waiting;
const latest = async (app: FastifyInstance, id: string) =>
  (await ask(app, 'GET', `/v1/users/${id}/adapters/default`)).body;

/** A server whose trainings wait for the gate, and what it tells of them. */
async function gated(training = {}, options = {}) {
  const { gate, catalogue } = gatedCatalogue();
  // Or the server would wait for them when it closes.
  onTestFinished(() => gate.open());
  const trained: Message[] = [];
  const observe = (message: Message) => message.type === 'trained' && trained.push(message);
  const app = await serve({ catalogue, observe, training, ...options });
  return { app, gate, trained };
}

describe('trainings of one user', () => {
  test('events that come while one runs train together in the next', async () => {
    const { app, gate, trained } = await gated();
    const id = randomUUID();
    // 1. The first ten are trained on, and held.
    expect((await post(app, id)).body).toEqual({ accepted: 10, waiting: 10 });
    // 2. Ten and ten more come, in any letter case.
    expect((await post(app, id)).body.waiting).toBe(20);
    expect((await post(app, id.toUpperCase())).body.waiting).toBe(30);
    expect(gate.held).toBe(1);
    expect(await metric(app, 'lora_training_running')).toBe(1);
    // 3. The first training ends.
    gate.open();
    await waitFor(() => trained.length === 2);
    expect(trained.map(({ version, events }) => [version, events])).toEqual([
      [1, 10],
      [2, 20],
    ]);
    expect(await latest(app, id)).toMatchObject({ version: 2, trainingIterations: 2 });
    expect([gate.held, await waiting(app)]).toEqual([2, 0]);
  });

  test('fewer than ten wait for more of them', async () => {
    const { app, gate, trained } = await gated();
    gate.open();
    const id = randomUUID();
    await post(app, id, 4);
    await post(app, id, 5);
    expect([gate.held, await waiting(app)]).toEqual([0, 9]);
    await post(app, id, 1);
    await waitFor(() => trained.length === 1);
    expect(trained[0]).toMatchObject({ version: 1, events: 10 });
  });

  test('those of two adapters, and of other users, do not wait for each other', async () => {
    const { app, gate } = await gated({ concurrency: 3 });
    const id = randomUUID();
    await post(app, id);
    await ask(app, 'POST', `/v1/users/${id}/events`, { events, adapterName: 'other' });
    await post(app, randomUUID());
    expect(gate.held).toBe(3);
    gate.open();
  });

  test('of two nodes that began from the same version lose no update', async () => {
    const id = randomUUID();
    let open = () => {};
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    let loaded = 0;
    // Asked for one by one, by the trainings alone, once they have loaded.
    const embeddings = async (contentIds: readonly string[]) => {
      if (contentIds.length === 1 && contentIds[0] === 'drama-01') {
        loaded++;
        await opened;
      }
      return await catalogue.embeddings(contentIds);
    };
    const [one, other] = (await Promise.all([1, 2].map(() => serve({ catalogue: { ...catalogue, embeddings } })))) as [
      FastifyInstance,
      FastifyInstance,
    ];
    // 1. Both have loaded the same: nothing. 2. Both train and save.
    await Promise.all([post(one, id), post(other, id)]);
    await waitFor(() => loaded === 2);
    open();
    await waitFor(async () => (await latest(one, id)).version === 2);
    expect(await latest(one, id)).toMatchObject({ version: 2, trainingIterations: 2 });
  });
});

describe('a queue that is full', () => {
  test('refuses with when to come again, and takes events again when there is room', async () => {
    const { app, gate } = await gated({ capacity: 20 });
    const id = randomUUID();
    await post(app, id);
    await post(app, id);
    const { status, body, headers } = await post(app, randomUUID(), 1);
    expect([status, body.type, headers['retry-after']]).toEqual([
      503,
      'urn:lora-store:problem:training-queue-full',
      '5',
    ]);
    gate.open();
    await waitFor(async () => (await waiting(app)) === 0);
    expect((await post(app, id)).status).toBe(202);
  });

  test('gives up, for events that are enough to train, those that wait for more', async () => {
    const { app } = await gated({ capacity: 25 });
    const [poor, rich] = [randomUUID(), randomUUID()];
    await post(app, poor, 5);
    await post(app, rich);
    await post(app, rich);
    expect((await post(app, rich, 8)).status).toBe(503);
    expect((await eventCounts(app)).dropped).toBe(0);
    expect((await post(app, rich, 5)).status).toBe(202);
    expect(await eventCounts(app)).toMatchObject({ waiting: 25, dropped: 5 });
  });
});

test('what Postgres could not take is trained again when it can, once, with what came meanwhile', async () => {
  const proxy = await proxyTo(bench.postgresUrl);
  const storage = await openStorage({ postgres: proxy.url(bench.postgresUrl), redis: false });
  const { app, gate, trained } = await gated({ retryMs: 20 }, { storage });
  const id = randomUUID();
  await post(app, id);
  proxy.cut();
  gate.open();
  const failed = () => metric(app, 'lora_trainings_total{result="STORAGE_UNAVAILABLE"}');
  await waitFor(async () => (await failed()) >= 1);
  expect((await post(app, id)).body.waiting).toBe(20);
  proxy.heal();
  await waitFor(() => trained.length > 0);
  await waitFor(async () => (await waiting(app)) === 0);
  expect(trained.map(({ events }) => events)).toEqual([20]);
  expect(await latest(app, id)).toMatchObject({ version: 1, trainingIterations: 1 });
  await app.close();
  await storage.close();
  await proxy.close();
});

test('a server that closes goes on trying what Postgres could not take', async () => {
  const proxy = await proxyTo(bench.postgresUrl);
  const storage = await openStorage({ postgres: proxy.url(bench.postgresUrl), redis: false });
  const lines: string[] = [];
  const logStream = { write: (line: string) => void lines.push(line) };
  const { app, gate, trained } = await gated({ retryMs: 20 }, { storage, logStream, logLevel: 'info' });
  const failures = () => lines.filter((line) => line.includes('a training failed')).length;
  await post(app, randomUUID());
  proxy.cut();
  gate.open();
  await waitFor(() => failures() > 0);
  const closing = app.close();
  const before = failures();
  await waitFor(() => failures() > before + 1);
  proxy.heal();
  await closing;
  expect(trained.map(({ events }) => events)).toEqual([10]);
  expect(lines.at(-1)).toContain('"accepted":10,"waiting":0,"trained":10,"dropped":0,"msg":"drained"');
  await storage.close();
  await proxy.close();
});

describe('a catalogue', () => {
  const failures: [string, () => Promise<never>][] = [
    ['refuses', () => Promise.reject(new Error('the feature store restarts'))],
    ['does not answer', () => new Promise(() => {})],
  ];

  test.each(failures)('that %s for a moment: it is trained when it does', async (_, fail) => {
    let failing = ['preference', 'embedding'];
    const unless = <T>(what: string, answer: T) => {
      const [next] = failing;
      if (next !== what) return answer;
      failing = failing.slice(1);
      return fail();
    };
    const flaky = {
      preference: (id: string) => unless('preference', catalogue.preference(id)),
      // The route asks for all of them at once.
      embeddings: (ids: readonly string[]) =>
        unless(ids.length === 1 ? 'embedding' : 'none', catalogue.embeddings(ids)),
    };
    const app = await serve({ catalogue: flaky, catalogueTimeoutMs: 50, training: { retryMs: 1 } });
    const id = randomUUID();
    await post(app, id);
    await waitFor(async () => (await waiting(app)) === 0);
    expect(await eventCounts(app)).toEqual({ accepted: 10, waiting: 0, trained: 10, dropped: 0 });
    expect(await metric(app, 'lora_trainings_total{result="CATALOGUE_UNAVAILABLE"}')).toBe(2);
    expect(await latest(app, id)).toMatchObject({ version: 1, trainingIterations: 1 });
  });

  test('that never answers again keeps neither a deletion nor the end waiting', async () => {
    const asked: string[] = [];
    const never = (id: string) => {
      asked.push(id);
      return new Promise<never>(() => {});
    };
    const app = await serve({
      catalogue: { ...catalogue, preference: never },
      catalogueTimeoutMs: 50,
      training: { drainMs: 100 },
    });
    const [one, other] = [randomUUID(), randomUUID()];
    await post(app, one);
    await post(app, other);
    await waitFor(() => asked.includes(one) && asked.includes(other));
    expect((await ask(app, 'DELETE', `/v1/users/${one}/adapters`)).body).toEqual({ deleted: 0 });
    await app.close();
  });
});

test('events of a content that has left the catalogue are dropped, and counted', async () => {
  const without = {
    ...catalogue,
    embeddings: (ids: readonly string[]) => (ids.length === 1 ? [undefined] : catalogue.embeddings(ids)),
  };
  const app = await serve({ catalogue: without });
  await post(app, randomUUID());
  await waitFor(async () => (await waiting(app)) === 0);
  expect(await eventCounts(app)).toEqual({ accepted: 10, waiting: 0, trained: 0, dropped: 10 });
  expect(await metric(app, 'lora_trainings_total{result="EMBEDDING_UNUSABLE"}')).toBe(1);
});

test('whatever becomes of events, those that were accepted are those that wait, were trained or dropped', async () => {
  const { app, gate, trained } = await gated(
    { capacity: 30 },
    { storage: await openStorage({ createMissingUsers: false }) },
  );
  const [known, unknown, poor] = [await bench.user(), randomUUID(), await bench.user()];
  const counts = async () => {
    const { accepted, ...ends } = await eventCounts(app);
    expect(Object.values(ends).reduce((sum, count) => sum + count)).toBe(accepted);
    return { accepted, ...ends };
  };
  const steps = [
    await post(app, poor, 7),
    await post(app, known),
    await post(app, unknown),
    // Pushes out those that are too few.
    await post(app, known, 9),
    // Is refused, and counts nowhere.
    await ask(app, 'POST', `/v1/users/${known}/events`, { events: [...events, ...events] }),
  ];
  expect(steps.map(({ status }) => status)).toEqual([202, 202, 202, 202, 503]);
  expect(await counts()).toEqual({ accepted: 36, waiting: 29, trained: 0, dropped: 7 });
  gate.open();
  await waitFor(() => trained.length === 1);
  await waitFor(async () => (await counts()).waiting === 9);
  expect(await counts()).toEqual({ accepted: 36, waiting: 9, trained: 10, dropped: 17 });
  await ask(app, 'DELETE', `/v1/users/${known}/adapters`);
  expect(await counts()).toEqual({ accepted: 36, waiting: 0, trained: 10, dropped: 26 });
});

test('what can never be trained on is given up, and the next is not', async () => {
  const { app, gate } = await gated({}, { storage: await openStorage({ createMissingUsers: false }) });
  gate.open();
  const id = randomUUID();
  await post(app, id);
  await waitFor(async () => (await metric(app, 'lora_trainings_total{result="USER_NOT_FOUND"}')) === 1);
  expect(await waiting(app)).toBe(0);
  expect(await problemOf(app, 'GET', `/v1/users/${id}/adapters/default`)).toEqual([404, 'adapter-not-found']);
});

test('a server that closes trains what waits first', async () => {
  const { app, gate, trained } = await gated();
  const id = randomUUID();
  await post(app, id);
  await post(app, id);
  const closing = app.close().then(() => trained.length);
  gate.open();
  expect(await closing).toBe(2);
});
