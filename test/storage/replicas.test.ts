/**
 * Read replicas on real streaming replication, replay paused on purpose: what a standby shows is served while it may count,
 * and never when the primary has committed something newer that this node could know of.
 */
import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import pg from 'pg';
import { Registry } from 'prom-client';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { LoRAStorageOptions } from '../../src/options.js';
import { migrate } from '../../src/postgres/migrate.js';
import { LoRAStorage } from '../../src/storage/lora-storage.js';
import { collectMetrics } from '../../src/telemetry/prometheus.js';
import { createDatabase } from '../support/database.js';
import { type FaultProxy, startProxy } from '../support/proxy.js';
import { redisNamespace, redisUrl } from '../support/redis.js';
import { type ReplicatedServer, TestReplication } from '../support/replication.js';
import { smallAdapter } from '../support/storage.js';
import { waitFor } from '../support/wait.js';

let replication: TestReplication;
let primary: ReplicatedServer;
let standby: ReplicatedServer;
let opened: LoRAStorage[] = [];

beforeAll(async () => {
  replication = await TestReplication.start();
  ({ primary } = replication);
  await migrate({ postgres: primary.url });
  standby = await replication.standby();
});
afterAll(() => replication?.stop());
afterEach(async () => {
  await Promise.all(opened.map((node) => node.close()));
  opened = [];
  await standby.resumeReplay();
});

interface Lost {
  readonly standby: ReplicatedServer;
  readonly proxy: FaultProxy;
}

type Replicas = { primary?: string; replicas?: string[] };

/** A node without Redis that reads from the standby. */
async function open(
  { primary: first = primary.url, replicas = [standby.url] }: Replicas = {},
  options: LoRAStorageOptions = {},
): Promise<LoRAStorage> {
  const patience = { redisTimeoutMs: 5000, maxStalenessMs: 5000, postgresTimeoutMs: 20_000 };
  const node = await LoRAStorage.open({
    postgres: { primary: first, replicas },
    redis: false,
    createMissingUsers: true,
    ...patience,
    ...options,
  });
  opened.push(node);
  return node;
}

/** Open, and its replica in rotation: it has caught up with what the change feed covers. */
async function reading(options: LoRAStorageOptions = {}): Promise<LoRAStorage> {
  const node = await open({}, options);
  await inRotation(node);
  return node;
}

const replicaOf = (node: LoRAStorage) => node.cacheStats().replicas[0] ?? expect.fail('it has no replica');
const looked = (node: LoRAStorage) => node.health().then(() => replicaOf(node));
const inRotation = (node: LoRAStorage) =>
  waitFor(async () => (await node.health()).replicas?.every((state) => state === 'up'));
const writer = () => open({ replicas: [] });

/** A version more, as psql would add it. */
const insert = `insert into lora_adapters (user_id, version, weights, size_bytes)
  select user_id, version + 1, weights, size_bytes from lora_adapters where user_id = $1`;

/** Saved by somebody else, and shown by the standby. */
async function known(seed = 1): Promise<string> {
  const userId = randomUUID();
  await (await writer()).saveAdapter(smallAdapter(userId, seed));
  await replication.caughtUp(standby);
  return userId;
}

async function versionAt(node: LoRAStorage, userId: string): Promise<number | string> {
  return await node.loadAdapterInfo(userId).then(
    ({ version }) => version,
    ({ code }) => code,
  );
}

describe('a replica that is in step', () => {
  test('answers loads, one and many, of what there is and what there is not; the primary is not asked', async () => {
    const [one, two, none] = [await known(1), await known(2), randomUUID()];
    const node = await reading({ memory: false });
    expect(await node.loadAdapterInfo(one)).toMatchObject({ version: 1, tier: 'postgres', stale: false });
    expect(await versionAt(node, none)).toBe('ADAPTER_NOT_FOUND');
    const many = await node.loadAdapters([{ userId: two }, { userId: none }, { userId: one }]);
    expect(many).toMatchObject([{ userId: two }, undefined, { userId: one }]);
    expect(node.cacheStats().postgres).toMatchObject({ loads: 0, errors: 0 });
    expect(replicaOf(node)).toMatchObject({ state: 'up', loads: 3, refused: 0, errors: 0 });
  });

  test('fills memory; and Redis, once the primary has said in a few bytes that it may', async () => {
    const userId = await known();
    const shared = { redis: redisUrl(), namespace: redisNamespace() };
    const node = await reading(shared);
    await node.loadAdapter(userId);
    expect(await node.loadAdapterInfo(userId)).toMatchObject({ tier: 'memory' });
    const other = await open({ replicas: [] }, { ...shared, memory: false });
    await waitFor(async () => (await other.loadAdapterInfo(userId)).tier === 'redis');
    // Of bodies the primary was asked for none.
    expect(node.cacheStats()).toMatchObject({ postgres: { loads: 0 }, redis: { misses: 1, errors: 0, fenced: 0 } });
  });

  test('confirmations leave the primary to those who wait: one question at a time, and of too many none', async () => {
    const namespace = redisNamespace();
    const redis = new Redis(redisUrl());
    const tokens = async () => (await redis.keys(`${namespace}:*`)).length;
    const address = await startProxy(primary.server.port);
    const node = await LoRAStorage.open({
      postgres: { primary: address.url(primary.url), direct: primary.url, replicas: [standby.url] },
      redis: redisUrl(),
      namespace,
      redisTimeoutMs: 5000,
      maxStalenessMs: 60_000,
      postgresTimeoutMs: 2500,
    });
    opened.push(node);
    await inRotation(node);
    address.hold();
    const loads = Array.from({ length: 300 }, () => versionAt(node, randomUUID()));
    expect(new Set(await Promise.all(loads))).toEqual(new Set(['ADAPTER_NOT_FOUND']));
    // One that is asked about, 256 that wait to be; the others have given up already, and nobody waits for them.
    await waitFor(async () => (await tokens()) === 257);
    // A look at the primary may wait as well.
    const { pool } = node.cacheStats().postgres;
    expect([pool.waiting, pool.size <= 3]).toEqual([0, true]);
    // The primary did not answer that one: none of the others is asked about.
    await waitFor(async () => (await tokens()) === 0);

    address.heal();
    await waitFor(async () => {
      await versionAt(node, randomUUID());
      return (await tokens()) > 0;
    });
    await node.close();
    await address.close();
    redis.disconnect();
  });

  test('two of them take turns', async () => {
    const users = await Promise.all([1, 2, 3, 4].map((seed) => known(seed)));
    const second = await replication.standby();
    const node = await open({ replicas: [standby.url, second.url] }, { memory: false });
    await inRotation(node);
    for (const userId of users) await node.loadAdapter(userId);
    expect(node.cacheStats().replicas.map(({ loads }) => loads)).toEqual([2, 2]);
    await second.stop();
  });
});

describe('a replica whose replay is paused', () => {
  test('a node that was opened after a save asks the primary, though it has heard of nothing', async () => {
    const userId = await known();
    await standby.pauseReplay();
    await (await writer()).saveAdapter(smallAdapter(userId, 2));
    const node = await open();
    expect(await versionAt(node, userId)).toBe(2);
    expect(replicaOf(node)).toMatchObject({ state: 'behind', loads: 0 });
    await standby.resumeReplay();
    await inRotation(node);
  });

  test.each<[string, (node: LoRAStorage, userId: string) => Promise<unknown>, number | string]>([
    ['this node saves', (node, userId) => node.saveAdapter(smallAdapter(userId, 2)), 2],
    ['this node deletes', (node, userId) => node.deleteAdapter(userId), 'ADAPTER_NOT_FOUND'],
    ['this node rolls back', (node, userId) => node.rollbackAdapter(userId, 'default', 1), 2],
  ])('%s: it reads what it wrote', async (_, write, expected) => {
    const [userId, other] = [await known(), await known()];
    const node = await reading({ memory: false });
    await standby.pauseReplay();
    await write(node, userId);
    for (let times = 0; times < 3; times++) expect(await versionAt(node, userId)).toBe(expected);
    expect(replicaOf(node).refused).toBe(3);
    // What the standby shows of others still counts.
    expect(await versionAt(node, other)).toBe(1);
    expect(replicaOf(node)).toMatchObject({ state: 'up', refused: 3 });
  });

  test.each<[string, (userId: string) => Promise<unknown>, number | string]>([
    ['another node saves', async (userId) => (await writer()).saveAdapter(smallAdapter(userId, 2)), 2],
    ['another node deletes', async (userId) => (await writer()).deleteAdapter(userId), 'ADAPTER_NOT_FOUND'],
    ['somebody inserts in psql', (userId) => primary.sql(insert, [userId]), 2],
    ['the user is deleted', (userId) => primary.sql('delete from users where id = $1', [userId]), 'ADAPTER_NOT_FOUND'],
  ])('%s: once that was heard, the old version is never seen again', async (_, write, expected) => {
    const userId = await known();
    const node = await reading();
    expect(await versionAt(node, userId)).toBe(1);
    await standby.pauseReplay();
    await write(userId);
    await waitFor(async () => (await versionAt(node, userId)) === expected);
    const late = await open({}, { memory: false });
    for (const each of [node, late]) expect(await versionAt(each, userId)).toBe(expected);
    expect(await standby.sql('select version from lora_adapters where user_id = $1', [userId])).toEqual([
      { version: 1 },
    ]);
  });

  test('more changed than was told: it is not asked until it shows all of that', async () => {
    const [userId, marker] = [await known(), await known()];
    const node = await reading();
    await node.loadAdapter(marker);
    await standby.pauseReplay();
    await primary.sql(`insert into users select gen_random_uuid() from generate_series(1, 200)`);
    await primary.sql(
      `insert into lora_adapters (user_id, version, weights, size_bytes)
       select id, 9, (select weights from lora_adapters where user_id = $1), 0 from users`,
      [userId],
    );
    // What is committed later is heard later, and by then a new horizon is asked for.
    const heard = new Promise<void>((resolve) => node.on('invalidated', () => resolve()));
    await (await writer()).saveAdapter(smallAdapter(marker, 2));
    await heard;
    await waitFor(() => node.cacheStats().changeFeed.live);
    expect(await versionAt(node, userId)).toBe(9);
    expect(replicaOf(node).state).toBe('behind');
    await standby.resumeReplay();
    await inRotation(node);
  });

  test('a transaction that stays open on the primary keeps no standby out: its end will be heard', async () => {
    const userId = await known();
    const writing = new pg.Client({ connectionString: primary.url });
    await writing.connect();
    await writing.query('begin');
    await writing.query(insert, [userId]);
    const node = await reading({ memory: false });
    expect(await versionAt(node, userId)).toBe(1);
    await standby.pauseReplay();
    await writing.query('commit');
    await writing.end();
    await waitFor(async () => (await versionAt(node, userId)) === 2);
    expect(replicaOf(node)).toMatchObject({ state: 'up', refused: 1 });
  });

  test('how far it is behind is told, in the metrics too, and that it is not any more', async () => {
    const node = await reading();
    const registry = new Registry();
    const stop = collectMetrics(node, { register: registry });
    const told = async (metric: string) =>
      Number(new RegExp(`^${metric} (\\S+)`, 'm').exec(await registry.metrics())?.[1]);
    expect(await told('lora_store_replica_lag_seconds')).toBe(0);
    await standby.pauseReplay();
    const writing = await writer();
    await writing.saveAdapter(smallAdapter(randomUUID()));
    await waitFor(() => looked(node).then(({ lagMs = 0 }) => lagMs > 0));
    expect(await told('lora_store_replica_lag_seconds')).toBeGreaterThan(0);
    await standby.resumeReplay();
    await waitFor(() => looked(node).then(({ lagMs }) => lagMs === 0));
    stop();
  });
});

describe('a replica that is lost', () => {
  test.each<[string, (lost: Lost) => unknown, (lost: Lost) => unknown]>([
    ['killed', ({ standby }) => standby.server.kill(), ({ standby }) => standby.server.restart()],
    ['mute', ({ proxy }) => proxy.mute(), ({ proxy }) => proxy.heal()],
    ['out of reach', ({ proxy }) => proxy.cut(), ({ proxy }) => proxy.heal()],
  ])('%s: loads go on from the primary, it leaves rotation, and returns', async (_, lose, mend) => {
    const users = [await known(1), await known(2), await known(3)] as const;
    const lost = await replication.standby();
    const proxy = await startProxy(lost.server.port);
    const node = await open({ replicas: [proxy.url(lost.url)] }, { memory: false, postgresTimeoutMs: 5000 });
    await inRotation(node);
    const told: string[] = [];
    for (const event of ['degraded', 'recovered'] as const) node.on(event, ({ tier }) => told.push(`${event} ${tier}`));
    await lose({ standby: lost, proxy });
    for (const userId of users) expect(await versionAt(node, userId)).toBe(1);
    // The sessions of a killed server live on for a moment, and may still answer.
    await waitFor(async () => (await looked(node)).state === 'down');
    expect(replicaOf(node).lagMs).toBeUndefined();
    const [{ loads }, before] = [replicaOf(node), node.cacheStats().postgres.loads];
    for (const userId of users) expect(await versionAt(node, userId)).toBe(1);
    expect(node.cacheStats().postgres).toMatchObject({ loads: before + 3, errors: 0 });
    expect(await node.health()).toMatchObject({ postgres: 'up', replicas: ['down'] });
    await mend({ standby: lost, proxy });
    await inRotation(node);
    await node.loadAdapter(users[0]);
    expect(replicaOf(node).loads).toBe(loads + 1);
    expect(told).toEqual(['degraded replica', 'recovered replica']);
    await node.close();
    await Promise.all([lost.stop(), proxy.close()]);
  });

  test('is away from the start: the storage opens, and takes it in when it comes', async () => {
    const lost = await replication.standby();
    await lost.server.kill();
    const userId = await known();
    const node = await open({ replicas: [lost.url] });
    expect(await node.health()).toMatchObject({ postgres: 'up', replicas: ['down'] });
    expect(await versionAt(node, userId)).toBe(1);
    await lost.server.restart();
    await inRotation(node);
    await lost.stop();
  });
});

test('the primary restarts: its standby counts again once it shows who that is now', async () => {
  const userId = await known();
  const node = await reading({ memory: false });
  await primary.restart();
  await waitFor(() => node.cacheStats().changeFeed.live);
  await inRotation(node);
  expect(await versionAt(node, userId)).toBe(1);
  expect(replicaOf(node)).toMatchObject({ loads: 1, refused: 0 });
});

describe('the first who writes under a primary that was started anew', () => {
  const clients: pg.Client[] = [];
  const connect = async () => {
    const client = new pg.Client({ connectionString: primary.url });
    await client.connect();
    clients.push(client);
    return client;
  };
  let users: [string, string];

  beforeEach(async () => {
    users = [await known(1), await known(2)];
    // There is a mark, and nobody who would leave another one after the restart.
    await reading();
    await Promise.all(opened.splice(0).map((node) => node.close()));
    await primary.restart();
  });
  afterEach(() => Promise.all(clients.splice(0).map((client) => client.end())));

  test('keeps nobody waiting who saves or opens, however long he takes', async () => {
    const first = await connect();
    await first.query('begin');
    await first.query(insert, [users[0]]);
    expect(await (await writer()).saveAdapter(smallAdapter(users[1], 2))).toBe(2);
    const node = await reading({ memory: false });
    expect(await versionAt(node, users[1])).toBe(2);
    expect(node.cacheStats().changeFeed).toMatchObject({ live: true, reconnects: 0 });
    await first.query('commit');
    await waitFor(async () => (await versionAt(node, users[0])) === 2);
  });

  test('does not meet another one, whatever their isolation', async () => {
    const [one, two] = [await connect(), await connect()];
    await two.query('begin isolation level repeatable read');
    await two.query('select from users');
    await one.query('begin');
    await one.query(insert, [users[0]]);
    await two.query(insert, [users[1]]);
    await two.query('commit');
    await one.query('commit');
    await waitFor(async () => (await versionAt(await writer(), users[1])) === 2);
  });
});

describe('while the primary is away', () => {
  afterEach(() => primary.restart());

  async function withoutPrimary(node: LoRAStorage): Promise<void> {
    await primary.server.kill();
    // Its sessions live on for a moment, and may still answer.
    await waitFor(() => !node.cacheStats().changeFeed.live && node.cacheStats().postgres.pool.size === 0);
  }

  test('what nobody holds is answered by a replica, and flagged; more than a copy it is not believed', async () => {
    const [cold, saved, deleted] = [await known(1), await known(2), await known(3)];
    const node = await reading({ memory: false });
    await standby.pauseReplay();
    await node.saveAdapter(smallAdapter(saved, 9));
    await node.deleteAdapter(deleted);
    await withoutPrimary(node);
    expect(await node.loadAdapterInfo(cold)).toMatchObject({ version: 1, tier: 'postgres', stale: true });
    expect(await versionAt(node, saved)).toBe('STORAGE_UNAVAILABLE');
    expect(await versionAt(node, deleted)).toBe('STORAGE_UNAVAILABLE');
    expect(await versionAt(node, randomUUID())).toBe('ADAPTER_NOT_FOUND');
  });

  test('so are many at once', async () => {
    const users = [await known(1), await known(2), randomUUID()];
    const node = await reading({ memory: false });
    const corrupt: string[] = [];
    node.on('corrupt', ({ reason }) => corrupt.push(reason));
    await withoutPrimary(node);
    const found = await node.loadAdapters(users.map((userId) => ({ userId })));
    expect(found).toMatchObject([{ userId: users[0] }, { userId: users[1] }, undefined]);
    expect(corrupt).toEqual([]);
  });

  test('and of two the one that answers', async () => {
    const cold = await known();
    const proxy = await startProxy(standby.server.port);
    const node = await open(
      { replicas: [proxy.url(standby.url), standby.url] },
      { memory: false, postgresTimeoutMs: 3000, maxStalenessMs: 60_000 },
    );
    await inRotation(node);
    await withoutPrimary(node);
    await waitFor(async () => (await node.health()).replicas?.every((state) => state === 'behind'));
    // One of the two is asked first for each: nobody has looked since.
    proxy.mute();
    for (let i = 0; i < 2; i++) expect(await node.loadAdapterInfo(cold)).toMatchObject({ version: 1, stale: true });
    await proxy.close();
  });

  test('staleIfErrorMs: 0 forbids that, too', async () => {
    const cold = await known();
    const node = await reading({ memory: false, staleIfErrorMs: 0 });
    await withoutPrimary(node);
    expect(await versionAt(node, cold)).toBe('STORAGE_UNAVAILABLE');
  });

  test('who opened while the standby was behind has never known what it shows, and does not serve it', async () => {
    const cold = await known();
    await standby.pauseReplay();
    await (await writer()).saveAdapter(smallAdapter(cold, 2));
    const node = await open({}, { memory: false });
    expect(replicaOf(node).state).toBe('behind');
    await withoutPrimary(node);
    expect(await versionAt(node, cold)).toBe('STORAGE_UNAVAILABLE');
  });
});

/** Runs through transaction ids, so that the numbers of one server pass those of another. */
const passTime = (server: ReplicatedServer) =>
  server.sql(`do $$ begin for i in 1..500 loop perform pg_current_xact_id(); commit; end loop; end $$`);

describe('a standby of a standby that was promoted, while the primary lives on', () => {
  let promoted: ReplicatedServer;
  let follower: ReplicatedServer;

  beforeEach(async () => {
    promoted = await replication.standby();
    follower = await replication.standby(primary, promoted);
    await replication.caughtUp(follower);
  });
  afterEach(() => Promise.all([follower.stop(), promoted.stop()]));

  test('what was never committed on the primary is not served', async () => {
    const userId = await known();
    await replication.caughtUp(follower);
    const node = await open({ replicas: [follower.url] }, { memory: false });
    await inRotation(node);
    await promoted.promote();
    // By somebody who knows nothing of replicas: the triggers sign it.
    await promoted.sql(insert, [userId]);
    await replication.caughtUp(follower, promoted);
    expect(await versionAt(node, userId)).toBe(1);
    expect(replicaOf(node)).toMatchObject({ state: 'behind', refused: 1 });
  });

  test('what the primary has committed since is not missed, though transaction ids ran on elsewhere', async () => {
    const userId = await known();
    await replication.caughtUp(follower);
    await promoted.promote();
    await (await writer()).saveAdapter(smallAdapter(userId, 2));
    await passTime(promoted);
    await replication.caughtUp(follower, promoted);
    const node = await open({ replicas: [follower.url] });
    expect(await versionAt(node, userId)).toBe(2);
    expect(replicaOf(node)).toMatchObject({ state: 'behind', loads: 0 });
  });
});

test('the primary is another one than the change feed listens to: standbys of either do not count', async () => {
  const userId = await known();
  const promoted = await replication.standby();
  const address = await startProxy(primary.server.port);
  const node = await LoRAStorage.open({
    postgres: { primary: address.url(primary.url), direct: primary.url, replicas: [standby.url] },
    redis: false,
    memory: false,
    maxStalenessMs: 60_000,
  });
  opened.push(node);
  await inRotation(node);
  // A failover that leaves the old primary alive: the address is moved, and the change feed does not notice.
  await promoted.promote();
  address.moveTo(promoted.server.port);
  await waitFor(async () => (await looked(node)).state === 'behind');
  const successor = await open({ primary: promoted.url, replicas: [] });
  await successor.saveAdapter(smallAdapter(userId, 2));
  expect(await versionAt(node, userId)).toBe(2);
  await node.close();
  await Promise.all([successor.close(), address.close()]);
  await promoted.stop();
});

test('the primary is another one than the change feed listens to: memory does not count, replicas or none', async () => {
  const [a, b] = [await known(1), await known(2)];
  const promoted = await replication.standby();
  const [address, direct] = [await startProxy(primary.server.port), await startProxy(primary.server.port)];
  const node = await LoRAStorage.open({
    postgres: { primary: address.url(primary.url), direct: direct.url(primary.url) },
    redis: false,
    maxStalenessMs: 60_000,
  });
  opened.push(node);
  expect([await versionAt(node, a), await versionAt(node, b)]).toEqual([1, 1]);
  await promoted.promote();
  address.moveTo(promoted.server.port);
  const successor = await open({ primary: promoted.url, replicas: [] });
  await successor.saveAdapter(smallAdapter(a, 3));
  // The first who asks the new primary finds out.
  await waitFor(async () => (await versionAt(node, randomUUID())) === 'ADAPTER_NOT_FOUND');
  expect(await versionAt(node, a)).toBe(2);
  await successor.saveAdapter(smallAdapter(a, 4));
  expect(await node.loadAdapterInfo(a)).toMatchObject({ version: 3, tier: 'postgres', stale: false });
  await waitFor(async () => (await node.health()).changeFeed === 'down');

  direct.moveTo(promoted.server.port);
  await waitFor(async () => (await node.health()).changeFeed === 'live');
  await versionAt(node, a);
  expect(await node.loadAdapterInfo(a)).toMatchObject({ version: 3, tier: 'memory' });
  await node.close();
  await Promise.all([successor.close(), address.close(), direct.close()]);
  await promoted.stop();
});

test('a mark is a position in the log, whatever becomes of the row that it was left in', async () => {
  await primary.sql('select lora_store_mark()');
  await primary.sql('update lora_store_primary set mark = mark + 1');
  const [before] = await primary.sql('select mark from lora_store_primary');
  await primary.sql('delete from lora_store_primary');
  const [after] = await primary.sql(
    'select lora_store_mark() as mark, pg_wal_lsn_diff(pg_current_wal_insert_lsn(), $1) as log',
    ['0/0'],
  );
  expect(Number(after?.mark)).toBeGreaterThan(Number(before?.mark));
  expect(Number(after?.mark)).toBeLessThan(Number(after?.log));
});

test('a mark that could not be left is left later, on the same connection', async () => {
  const node = await reading();
  await primary.sql('alter function lora_store_mark() rename to lora_store_unmarked');
  await primary.sql(
    `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'lora-store change feed'`,
  );
  await waitFor(() => node.cacheStats().changeFeed.reconnects === 1 && node.cacheStats().changeFeed.live);
  expect((await looked(node)).state).toBe('behind');
  await primary.sql('alter function lora_store_unmarked() rename to lora_store_mark');
  await inRotation(node);
  expect(node.cacheStats().changeFeed.reconnects).toBe(1);
});

test('a standby that has replayed a lock and stands still leaves rotation, and returns', async () => {
  const userId = await known();
  const node = await open({}, { memory: false, postgresTimeoutMs: 3000 });
  await inRotation(node);
  const locker = new pg.Client({ connectionString: primary.url });
  await locker.connect();
  await locker.query('begin; lock table lora_adapter_heads in access exclusive mode');
  await waitFor(async () => {
    const [row] = await standby.sql(`select from pg_locks where relation = 'lora_adapter_heads'::regclass and granted`);
    return row;
  });
  await standby.pauseReplay();
  await locker.query('commit');
  await locker.end();
  expect(await versionAt(node, userId)).toBe(1);
  await waitFor(async () => (await looked(node)).state === 'down');
  await standby.resumeReplay();
  await inRotation(node);
});

test('a copy of the database on the same server is not believed', async () => {
  const at = ({ url }: ReplicatedServer, database: string) => url.replace(/\/postgres$/, `/${database}`);
  await primary.sql('create database app');
  await migrate({ postgres: at(primary, 'app') });
  const userId = randomUUID();
  const first = await open({ primary: at(primary, 'app'), replicas: [at(standby, 'app')] });
  await first.saveAdapter(smallAdapter(userId, 1));
  await first.close();
  const sessions = `select from pg_stat_activity where datname = 'app'`;
  await waitFor(async () => (await primary.sql(sessions)).length === 0);
  await primary.sql('create database staging template app');
  const node = await open({ primary: at(primary, 'app'), replicas: [at(standby, 'staging')] }, { memory: false });
  await node.saveAdapter(smallAdapter(userId, 2));
  // A mark of the copy's own, as if nodes read there: later than ours.
  await open({ primary: at(primary, 'staging'), replicas: [at(standby, 'staging')] });
  await replication.caughtUp(standby);
  expect((await looked(node)).state).toBe('behind');
  expect(await versionAt(node, userId)).toBe(2);
});

test('without migration 005 any more, replicas are left alone, and the change feed returns', async () => {
  const node = await reading();
  await migrate({ postgres: primary.url, direction: 'down' });
  try {
    await primary.sql(
      `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'lora-store change feed'`,
    );
    await waitFor(() => node.cacheStats().changeFeed.reconnects === 1 && node.cacheStats().changeFeed.live);
    await replication.caughtUp(standby);
    expect((await looked(node)).state).not.toBe('up');
    expect(await versionAt(node, randomUUID())).toBe('ADAPTER_NOT_FOUND');
  } finally {
    await migrate({ postgres: primary.url });
  }
});

describe('a server that is no replica of this primary', () => {
  test('the standby of a primary that was replaced shows the past, under numbers from the future: it is not believed', async () => {
    const userId = await known();
    // The old primary has signed, and its standby shows it.
    await reading();
    const promoted = await replication.standby();
    await promoted.promote();
    const successor = await open({ primary: promoted.url, replicas: [] });
    await successor.saveAdapter(smallAdapter(userId, 2));
    await passTime(primary);
    await replication.caughtUp(standby);

    const node = await open({ primary: promoted.url });
    const [horizon] = await promoted.sql<{ xid: string }>(
      'select pg_snapshot_xmax(pg_current_snapshot())::text as xid',
    );
    // An autovacuum of the old primary may hold it back for a moment.
    await waitFor(async () => {
      const [shown] = await standby.sql<{ xid: string }>('select pg_snapshot_xmin(pg_current_snapshot())::text as xid');
      return Number(shown?.xid) > Number(horizon?.xid);
    });
    expect(await versionAt(node, userId)).toBe(2);
    expect(replicaOf(node)).toMatchObject({ state: 'behind', loads: 0 });

    const follower = await replication.standby(promoted);
    const reader = await open({ primary: promoted.url, replicas: [follower.url] });
    await inRotation(reader);
    expect(await versionAt(reader, userId)).toBe(2);
    expect(replicaOf(reader)).toMatchObject({ state: 'up', loads: 1 });
    await Promise.all([follower.stop(), promoted.stop()]);
  });

  test('a standby that was promoted under its readers, or a primary: it is left alone, and told of', async () => {
    const userId = await known();
    const promoted = await replication.standby();
    const node = await open({ replicas: [promoted.url] }, { memory: false });
    await inRotation(node);
    const causes: string[] = [];
    node.on('degraded', ({ tier, cause }) => causes.push(`${tier}: ${cause.message}`));
    await promoted.promote();
    // Of a history of its own from here on.
    await promoted.sql(insert, [userId]);
    expect(await versionAt(node, userId)).toBe(1);
    await waitFor(async () => (await node.health()).replicas?.[0] === 'down');
    expect(causes).toEqual([expect.stringMatching(/^replica: replica 127\.0\.0\.1:\d+\/postgres: it is no standby: /)]);
    expect(await versionAt(node, userId)).toBe(1);
    await promoted.stop();
  });
});

test('bytes that are bad on the replica are asked of the primary, and told of', async () => {
  const userId = await known();
  const node = await reading({ memory: false });
  const reasons: string[] = [];
  node.on('corrupt', ({ tier, reason }) => reasons.push(`${tier}: ${reason}`));
  await primary.sql(`update lora_adapters set weights = set_byte(weights, 8, 0) where user_id = $1`, [userId]);
  await replication.caughtUp(standby);
  await expect(node.loadAdapter(userId)).rejects.toMatchObject({ code: 'ADAPTER_CORRUPT' });
  expect(reasons).toEqual([
    expect.stringMatching(/^postgres: on the replica \S+: /),
    expect.stringMatching(/^postgres: /),
  ]);
  expect(replicaOf(node)).toMatchObject({ state: 'up', loads: 0, errors: 1 });
});

test('who may not leave a mark does not open with replicas, and hears why', async () => {
  await primary.sql(`create role unsigned login password 'unsigned'`);
  await primary.sql('grant select on lora_adapters, lora_adapter_heads, users to unsigned');
  await primary.sql('revoke execute on function lora_store_mark() from public');
  const url = primary.url.replace(/\/\/[^@]*@/, '//unsigned:unsigned@');
  await expect(open({ primary: url })).rejects.toThrow(/42501.*lora_store_mark.*docs\/sql\/grants\.sql/);
  expect(await versionAt(await open({ primary: url, replicas: [] }), randomUUID())).toBe('ADAPTER_NOT_FOUND');
});

test('a database whose heads sign nothing does not open with replicas, and says what to do', async () => {
  await primary.sql('alter table lora_adapter_heads disable trigger lora_adapter_heads_sign');
  const opening = open();
  await expect(opening).rejects.toMatchObject({ code: 'SCHEMA_OUT_OF_DATE' });
  await expect(opening).rejects.toThrow(/enable trigger lora_adapter_heads_sign.*psql .*005_primary\.up\.sql/);
  await (await writer()).close();
  await primary.sql('alter table lora_adapter_heads enable trigger lora_adapter_heads_sign');
  await reading();
});

test('a database without migration 005 does not open with replicas, and says what to run', async () => {
  const database = await createDatabase();
  try {
    await migrate({ postgres: database.url, direction: 'down' });
    const opening = open({ primary: database.url });
    await expect(opening).rejects.toMatchObject({ code: 'SCHEMA_OUT_OF_DATE' });
    await expect(opening).rejects.toThrow(/lora_store_mark.*lora-store migrate up/);
    expect(await versionAt(await open({ primary: database.url, replicas: [] }), randomUUID())).toBe(
      'ADAPTER_NOT_FOUND',
    );
  } finally {
    await Promise.all(opened.splice(0).map((node) => node.close()));
    await database.drop();
  }
});
