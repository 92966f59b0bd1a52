/** Why a part is away, as the live page says it: of what ioredis and pg really say when a connection goes, or is not there. */
import { once } from 'node:events';
import { Redis, type RedisOptions } from 'ioredis';
import pg from 'pg';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { type FaultProxy, startProxy } from '../../support/proxy.js';
import { redisUrl } from '../../support/redis.js';
import { freePort } from '../../support/servers/ports.js';
import { waitFor } from '../../support/wait.js';

interface State {
  hear(node: string, message: { type: string } & Record<string, unknown>): void;
  snapshot(nodes: never[], stack: object): { events: { event: string; text: string }[] };
}

const path = new URL('../../../examples/live/state.js', import.meta.url).href;
const { State } = (await import(path)) as { State: new () => State };

type Options = Pick<RedisOptions, 'retryStrategy' | 'maxRetriesPerRequest' | 'autoResendUnfulfilledCommands'>;

let proxy: FaultProxy;

beforeAll(async () => {
  const { hostname, port } = new URL(redisUrl());
  proxy = await startProxy(Number(port || 6379), hostname);
});

afterAll(() => proxy?.close());

/** What the page shows when a node tells of it. */
function shown(tier: string, cause: string): string | undefined {
  const state = new State();
  state.hear('A', { type: 'event', event: 'degraded', detail: { tier, cause }, at: 0 });
  return state.snapshot([], {}).events[0]?.text;
}

/** What a command says whose connection is reset before it is answered. */
async function messageOfReset(options: Options): Promise<string> {
  const client = new Redis(proxy.url(redisUrl()), { lazyConnect: true, enableOfflineQueue: false, ...options });
  client.on('error', () => undefined);
  try {
    await client.connect();
    const lostBytes = proxy.lostBytes;
    proxy.mute();
    const asked = client.get('nothing').then(String, (error: Error) => error.message);
    await waitFor(() => proxy.lostBytes > lostBytes);
    proxy.cut();
    return await asked;
  } finally {
    client.disconnect();
    proxy.heal();
  }
}

async function refused(connect: (port: number) => Promise<unknown>): Promise<string> {
  return await connect(await freePort()).then(String, (error: Error) => error.message);
}

test('ioredis on a connection that is gone, or was never there', async () => {
  const idle = new Redis(redisUrl(), { lazyConnect: true, enableOfflineQueue: false });
  const notThere = await idle.get('nothing').then(String, (error: Error) => error.message);
  idle.disconnect();
  const lost = [
    notThere,
    await messageOfReset({ retryStrategy: () => null }),
    await messageOfReset({ maxRetriesPerRequest: 0, autoResendUnfulfilledCommands: false, retryStrategy: () => 1000 }),
  ];
  expect(new Set(lost).size).toBe(3);
  for (const cause of lost) expect([cause, shown('redis', cause)]).toEqual([cause, 'Redis: connection lost']);
});

test('nobody where Redis and Postgres should be', async () => {
  const redis = await refused(async (port) => {
    const client = new Redis(port, '127.0.0.1', { lazyConnect: true, retryStrategy: () => null });
    client.connect().catch(() => undefined);
    const [error] = await once(client, 'error');
    throw error;
  });
  expect(shown('redis', redis)).toBe('Redis: nobody answers at its address');
  const postgres = await refused((port) => new pg.Client({ host: '127.0.0.1', port }).connect());
  expect(shown('postgres', postgres)).toBe('Postgres: nobody answers at its address');
});

test('pg on a connection that is reset, or that ends in the middle of an answer', async () => {
  const { hostname, port } = new URL(inject('servers').postgres.url);
  const front = await startProxy(Number(port || 5432), hostname);
  const messageOf = async (fault: () => unknown) => {
    const client = new pg.Client({ connectionString: front.url(inject('servers').postgres.url) });
    client.on('error', () => undefined);
    await client.connect();
    const asked = client.query('select 1').then(String, (error: Error) => error.message);
    await fault();
    const message = await asked;
    front.heal();
    return message;
  };
  try {
    const causes = [
      await messageOf(() => front.cutAfter(1)),
      await messageOf(async () => {
        front.mute();
        await waitFor(() => front.lostBytes > 0);
        front.cut();
      }),
    ];
    expect(new Set(causes).size).toBe(2);
    for (const cause of causes) {
      expect([cause, shown('change-feed', cause)]).toEqual([cause, 'Change feed: connection lost']);
    }
  } finally {
    await front.close();
  }
});

test.each([
  ['bus', 'the subscription of the bus was cut', 'Bus: connection lost'],
  ['change-feed', 'the server closed the connection of the change feed', 'Change feed: connection lost'],
  ['redis', 'Redis did not answer within 50 ms', 'Redis: did not answer within 50 ms'],
  ['redis', 'LOADING Redis is loading the dataset in memory', 'Redis: LOADING Redis is loading the dataset in memory'],
])('what the storage or a server says is told as it is, but for a lost connection: %s, %s', (tier, cause, text) => {
  expect(shown(tier, cause)).toBe(text);
});
