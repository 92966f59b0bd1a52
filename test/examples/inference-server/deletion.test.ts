/** A user who is deleted stays deleted, whatever of them waits, is trained or comes meanwhile, here and on other nodes. */
import { randomUUID } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import pg from 'pg';
import { describe, expect, onTestFinished, test } from 'vitest';
import { proxyTo, waitingSessions } from '../../storage/faults/support.js';
import { waitFor } from '../../support/wait.js';
import { ask, catalogue, eventCounts, events, gatedCatalogue, metric, useServers } from './support.js';

const { bench, serve, openStorage } = useServers();

const post = (app: FastifyInstance, id: string, count = 10) =>
  ask(app, 'POST', `/v1/users/${id}/events`, { events: events.slice(0, count) });
const remove = (app: FastifyInstance, id: string) => ask(app, 'DELETE', `/v1/users/${id}/adapters`);
const stored = (id: string) =>
  bench.sql<{ name: string; version: number }>(
    'select adapter_name as name, version from lora_adapters where user_id = $1',
    [id],
  );
const dropped = async (app: FastifyInstance) => (await eventCounts(app)).dropped;

/** A user with a version 1. */
async function known(app: FastifyInstance): Promise<string> {
  const id = randomUUID();
  await post(app, id);
  await waitFor(async () => (await stored(id)).length === 1);
  await waitFor(async () => (await eventCounts(app)).waiting === 0);
  return id;
}

/** Nobody writes of this user until it is let go. */
async function lockUser(id: string) {
  const client = new pg.Client(bench.postgresUrl);
  await client.connect();
  await client.query('begin');
  await client.query('select from users where id = $1 for update', [id]);
  const letGo = () => client.end();
  onTestFinished(letGo);
  return { letGo };
}

/** A catalogue that keeps trainings waiting once they have loaded what they train, as soon as it is closed. */
function gatedEmbeddings() {
  let opened: Promise<void> | undefined;
  let open = () => {};
  const gate = {
    held: 0,
    close() {
      opened = new Promise((resolve) => {
        open = resolve;
      });
    },
    open: () => open(),
  };
  onTestFinished(() => gate.open());
  const embeddings = async (contentIds: readonly string[]) => {
    // One by one they are asked for by trainings alone.
    if (contentIds.length === 1 && contentIds[0] === 'drama-01' && opened !== undefined) {
      gate.held++;
      await opened;
    }
    return await catalogue.embeddings(contentIds);
  };
  return { gate, catalogue: { ...catalogue, embeddings } };
}

describe('on the node that deletes', () => {
  test('what waits is dropped, and what is trained is waited for', async () => {
    const { gate, catalogue } = gatedCatalogue();
    onTestFinished(() => gate.open());
    const app = await serve({ catalogue });
    const id = randomUUID();
    await post(app, id);
    await post(app, id);
    const deleting = ask(app, 'DELETE', `/v1/users/${id.toUpperCase()}/adapters`);
    await waitFor(async () => (await dropped(app)) === 10);
    gate.open();
    expect((await deleting).body).toEqual({ deleted: 1 });
    expect(await stored(id)).toEqual([]);
    expect(await eventCounts(app)).toEqual({ accepted: 20, waiting: 0, trained: 10, dropped: 10 });
  });

  test('events that come while Postgres deletes do not bring the user back; those that come afterwards are a new user’s', async () => {
    const app = await serve();
    const id = await known(app);
    // 1. The deletion has begun, and waits in Postgres.
    const lock = await lockUser(id);
    const deleting = remove(app, id);
    await waitFor(async () => (await waitingSessions(bench)) === 1);
    // 2. Enough events to train on come.
    expect((await post(app, id)).status).toBe(202);
    // 3. Postgres goes on.
    await lock.letGo();
    expect((await deleting).body).toEqual({ deleted: 1 });
    expect(await eventCounts(app)).toEqual({ accepted: 20, waiting: 0, trained: 10, dropped: 10 });
    expect(await stored(id)).toEqual([]);
    await post(app, id);
    await waitFor(async () => (await stored(id)).length === 1);
  });

  test('what comes after the answer trains, though word of the deletion is late', async () => {
    const proxy = await proxyTo(bench.postgresUrl);
    const postgres = { primary: bench.postgresUrl, direct: proxy.url(bench.postgresUrl) };
    const storage = await openStorage({ redis: false, postgres });
    const words = new Set<string>();
    storage.on('invalidated', ({ adapterName, via }) => via === 'change-feed' && words.add(adapterName));
    const app = await serve({ storage });
    const id = await known(app);
    await ask(app, 'POST', `/v1/users/${id}/events`, { events, adapterName: 'other' });
    await waitFor(async () => (await stored(id)).length === 2);
    await waitFor(async () => (await eventCounts(app)).waiting === 0);
    // 1. The user is deleted, and events come, too few to train on. 2. Word of that comes, by the change feed.
    proxy.delay(500);
    words.clear();
    await remove(app, id);
    await post(app, id, 4);
    await waitFor(() => words.size === 2);
    // 3. More come: with those there were before it is enough.
    await ask(app, 'POST', `/v1/users/${id}/events`, { events: events.slice(4) });
    await waitFor(async () => (await stored(id)).length === 1);
    expect(await eventCounts(app)).toMatchObject({ dropped: 0 });
    await app.close();
    await storage.close();
    await proxy.close();
  });

  test('a training of the adapter that is deleted by name is dropped', async () => {
    const { gate, catalogue } = gatedEmbeddings();
    const app = await serve({ catalogue });
    const id = await known(app);
    gate.close();
    await post(app, id);
    await waitFor(() => gate.held === 1);
    const deleting = ask(app, 'DELETE', `/v1/users/${id}/adapters/default`);
    await waitFor(async () => (await stored(id)).length === 0);
    gate.open();
    expect((await deleting).body).toEqual({ deleted: 1 });
    await waitFor(async () => (await dropped(app)) === 10);
    expect(await metric(app, 'lora_trainings_total{result="ADAPTER_NOT_FOUND"}')).toBe(1);
    expect(await stored(id)).toEqual([]);
  });
});

describe('on the node that deletes one adapter, or one version', () => {
  // Which hears of nothing: its own answer has to do.
  const deaf = async () => await serve({ storage: await openStorage({ redis: false, changeFeed: false }) });

  test.each(['default', 'default/versions/1'])('%s: as the last of a user it takes along what waits', async (path) => {
    const app = await deaf();
    const id = await known(app);
    await post(app, id, 4);
    const { body } = await ask(app, 'DELETE', `/v1/users/${id.toUpperCase()}/adapters/${path}`);
    expect([body, await dropped(app)]).toEqual([{ deleted: 1 }, 4]);
    // What comes now is a new user's.
    await post(app, id);
    await waitFor(async () => (await stored(id)).length === 1);
  });

  test.each(['default', 'default/versions/1'])('%s: where another is left, what waits is kept', async (path) => {
    const app = await deaf();
    const id = await known(app);
    await ask(app, 'POST', `/v1/users/${id}/events`, { events, adapterName: 'other' });
    await waitFor(async () => (await stored(id)).length === 2);
    await waitFor(async () => (await eventCounts(app)).waiting === 0);
    await post(app, id, 4);
    await ask(app, 'DELETE', `/v1/users/${id}/adapters/${path}`);
    expect(await eventCounts(app)).toMatchObject({ waiting: 4, dropped: 0 });
  });

  test('that is not there: what waits is kept', async () => {
    const app = await deaf();
    const id = randomUUID();
    await post(app, id, 4);
    expect((await ask(app, 'DELETE', `/v1/users/${id}/adapters/default`)).status).toBe(404);
    expect(await dropped(app)).toBe(0);
  });
});

describe('on another node', () => {
  test('what waits is dropped, and what comes once all word of it has come trains', async () => {
    const [one, other] = [await serve(), await serve()];
    const id = await known(one);
    await post(other, id, 4);
    await remove(one, id);
    await waitFor(async () => (await dropped(other)) >= 4);
    expect(await stored(id)).toEqual([]);
    // Word comes by two ways, and drops what has come between them, too.
    await waitFor(async () => (await post(other, id)) && (await stored(id)).length > 0);
  });

  test('a training under way does not bring back what it had loaded, and what waited behind it is dropped', async () => {
    const { gate, catalogue } = gatedEmbeddings();
    const [one, other] = [await serve(), await serve({ catalogue })];
    const id = await known(one);
    gate.close();
    // 1. The other node has loaded version 1; more of the same adapter is ready, and another one gathers.
    await post(other, id);
    await waitFor(() => gate.held === 1);
    await post(other, id);
    await ask(other, 'POST', `/v1/users/${id}/events`, { events: events.slice(0, 4), adapterName: 'second' });
    // 2. The user is deleted. 3. The training saves.
    await remove(one, id);
    await waitFor(async () => (await dropped(other)) === 14);
    gate.open();
    await waitFor(async () => (await dropped(other)) === 24);
    expect([await stored(id), await eventCounts(other)]).toMatchObject([[], { waiting: 0, trained: 0 }]);
  });

  test('what waits is dropped, though a load finds nothing before word comes', async () => {
    const proxy = await proxyTo(bench.postgresUrl);
    const postgres = { primary: bench.postgresUrl, direct: proxy.url(bench.postgresUrl) };
    const [one, storage] = [await serve(), await openStorage({ redis: false, postgres })];
    const other = await serve({ storage });
    const id = await known(one);
    await post(other, id, 4);
    // 1. The last adapter is deleted. 2. The other node, whose memory does not hold it, looks for it. 3. Word comes.
    proxy.delay(500);
    await ask(one, 'DELETE', `/v1/users/${id}/adapters/default`);
    expect((await ask(other, 'GET', `/v1/users/${id}/adapters/default`)).status).toBe(404);
    await waitFor(async () => (await dropped(other)) === 4);
    await other.close();
    await storage.close();
    await proxy.close();
  });

  test('what waits is kept when the change is no deletion', async () => {
    const [one, other] = [await serve(), await serve()];
    const id = await known(one);
    await post(other, id, 4);
    const heard = async () => {
      const vias = ['bus', 'change-feed'].map((via) => metric(other, `lora_invalidations_total{via="${via}"}`));
      return (await Promise.all(vias)).reduce((sum, count) => sum + count, 0);
    };
    const before = await heard();
    await post(one, id);
    await waitFor(async () => (await heard()) > before);
    await ask(other, 'POST', `/v1/users/${id}/events`, { events: events.slice(4) });
    await waitFor(async () => (await eventCounts(other)).trained === 10);
    expect((await stored(id)).map(({ version }) => version).sort()).toEqual([1, 2, 3]);
  });

  test('that cannot ask Postgres when it hears of it, it is asked again', async () => {
    const proxy = await proxyTo(bench.postgresUrl);
    const postgres = { primary: proxy.url(bench.postgresUrl), direct: bench.postgresUrl };
    const storage = await openStorage({ postgres });
    const lines: string[] = [];
    const logStream = { write: (line: string) => void lines.push(line) };
    const [one, other] = [
      await serve(),
      await serve({ storage, logLevel: 'warn', logStream, training: { retryMs: 20 } }),
    ];
    const id = await known(one);
    await post(other, id, 4);
    proxy.cut();
    await remove(one, id);
    // Words of it are three at the most.
    await waitFor(() => lines.filter((line) => line.includes('not known yet')).length > 6);
    expect(await dropped(other)).toBe(0);
    proxy.heal();
    await waitFor(async () => (await dropped(other)) === 4);
    await other.close();
    await storage.close();
    await proxy.close();
  });
});
