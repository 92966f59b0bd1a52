/** What a call costs: the statements sent to Postgres and the commands sent to Redis, counted as they are sent. */
import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { LoRAStorage } from '../../src/storage/lora-storage.js';
import { endPool } from '../support/pools.js';
import { type OwnServer, startRedis } from '../support/redis.js';
import { smallAdapter, useStorage } from '../support/storage.js';
import { waitFor } from '../support/wait.js';

const bench = useStorage();
let statements: string[] = [];
let commands: string[][] = [];
let lastCommandAt = 0;
let pool: pg.Pool;
let monitor: Redis;
let redis: Redis;
let server: OwnServer;

/** pg waits for the answer to one query before it sends the next: queries are round trips. */
class CountingClient extends pg.Client {
  constructor(config?: pg.ClientConfig) {
    super(config);
    const { connection } = this as unknown as { connection: { sync(): void; query(text: string): void } };
    for (const method of ['sync', 'query'] as const) {
      const send = connection[method].bind(connection) as (text?: string) => void;
      connection[method] = (text?: string) => {
        statements.push(text ?? 'prepared');
        send(text);
      };
    }
  }
}

beforeAll(async () => {
  pool = new pg.Pool({ connectionString: bench.postgresUrl, Client: CountingClient as unknown as new () => pg.Client });
  // ioredis loses its place when MONITOR reports somebody's command before its own answer: nobody else is here.
  server = await startRedis();
  redis = new Redis(server.url);
  monitor = await redis.monitor();
  monitor.on('monitor', (_time: string, args: string[]) => {
    if (!args.some((arg) => arg.includes(bench.namespace)) || args.some((arg) => arg.includes(':echo:'))) return;
    commands.push(args);
    lastCommandAt = performance.now();
  });
});
afterAll(async () => {
  monitor?.disconnect();
  redis?.disconnect();
  await endPool(pool);
  await server?.stop();
});

/**
 * What `work` sent: between two marks, since MONITOR reports late but in order, and once that is over which an earlier save
 * has nodes tell and clear a tenth of a second later.
 */
async function sent(work: () => Promise<unknown>): Promise<{ postgres: number; redis: string[] }> {
  await waitFor(() => performance.now() - lastCommandAt > 300);
  await mark();
  [statements, commands] = [[], []];
  await work();
  const postgres = statements.length;
  const last = await mark();
  return { postgres, redis: commands.filter((args) => args[1] !== last).map(([name = '']) => name.toLowerCase()) };
}

async function mark(): Promise<string> {
  const key = `${bench.namespace}:mark:${randomUUID()}`;
  await redis.get(key);
  await waitFor(() => commands.some((args) => args[1] === key));
  return key;
}

async function open(options = {}): Promise<LoRAStorage> {
  const node = await bench.open({ postgres: pool, redis: server.url, ...options });
  await waitFor(async () => (await node.health()).changeFeed === 'live');
  return node;
}

// First, before there are nodes that hear of the saves and clear what Redis holds below them.
test('loadAdapters is one round trip per tier, however many keys', async () => {
  const users = await Promise.all(Array.from({ length: 50 }, () => bench.user()));
  const bare = await open({ memory: false, redis: false });
  for (const userId of users) await bare.saveAdapter(smallAdapter(userId));
  const keys = users.map((userId) => ({ userId }));

  const node = await open();
  const cold = await sent(() => node.loadAdapters(keys));
  expect(cold.postgres).toBe(1);
  expect(cold.redis.filter((name) => name === 'mget')).toHaveLength(1);
  expect(cold.redis).not.toContain('get');
  const filled = (userId: string) => redis.strlen(`${bench.namespace}:v1:{${userId}}:default`);
  await waitFor(async () => (await Promise.all(users.map(filled))).every((bytes) => bytes > 48));
  expect(await sent(() => node.loadAdapters(keys))).toEqual({ postgres: 0, redis: [] });
});

test('a save is one round trip to Postgres, with and without expectedVersion', async () => {
  const node = await open({ redis: false });
  const userId = await bench.user();
  expect(await sent(() => node.saveAdapter(smallAdapter(userId)))).toEqual({ postgres: 1, redis: [] });
  expect((await sent(() => node.saveAdapter(smallAdapter(userId), 'default', { expectedVersion: 1 }))).postgres).toBe(
    1,
  );
});

test('a load is one round trip to the tier that has it', async () => {
  const userId = await bench.user();
  const saver = await open();
  await saver.saveAdapter(smallAdapter(userId));
  await waitFor(() => redis.exists(`${bench.namespace}:v1:{${userId}}:default`));

  const bare = await open({ memory: false, redis: false });
  expect(await sent(() => bare.loadAdapter(userId))).toEqual({ postgres: 1, redis: [] });

  const shared = await open({ memory: false });
  // The first load verifies an entry that is older than this node, and stamps it for the next.
  await shared.loadAdapter(userId);
  await saver.saveAdapter(smallAdapter(userId));
  await waitFor(async () => (await shared.loadAdapterInfo(userId)).version === 2);
  await waitFor(async () => (await sent(() => shared.loadAdapter(userId))).postgres === 0);
  expect(await sent(() => shared.loadAdapter(userId))).toEqual({ postgres: 0, redis: ['get'] });

  expect(await sent(() => saver.loadAdapter(userId))).toEqual({ postgres: 0, redis: [] });
});

test('many that all have to be verified are one round trip as well, and no body is fetched', async () => {
  const users = await Promise.all(Array.from({ length: 40 }, () => bench.user()));
  const node = await open({ redis: false });
  for (const userId of users) await node.saveAdapter(smallAdapter(userId));
  // More than a hundred heads in one statement are told as '*': everything held must be verified.
  await bench.sql(`insert into users (id) select gen_random_uuid() from generate_series(1, 101)`);
  await bench.sql(
    `insert into lora_adapters (user_id, adapter_name, version, weights, size_bytes)
     select id, 'mass', 1, '', 0 from users where id <> all($1) limit 101`,
    [users],
  );
  await waitFor(() => users.every((userId) => node.peekAdapter(userId) === undefined));
  const { loads } = node.cacheStats().postgres;
  await waitFor(async () => (await node.health()).changeFeed === 'live');
  expect((await sent(() => node.loadAdapters(users.map((userId) => ({ userId }))))).postgres).toBe(1);
  expect(node.cacheStats().postgres.loads).toBe(loads);
  for (const userId of users) expect(node.peekAdapter(userId)?.userId).toBe(userId);
});
