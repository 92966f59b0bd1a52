/**
 * A key that no tier holds, wanted by all nodes at once: one of them asks Postgres, the others wait for what it leaves in
 * Redis, and for no longer than their budget.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { UserLoRAAdapter } from '../../src/adapter/adapter.js';
import { AdapterCorruptError, AdapterNotFoundError, StorageUnavailableError } from '../../src/errors.js';
import type { LoadMessage } from '../../src/storage/channels.js';
import type { LoRAStorage } from '../../src/storage/lora-storage.js';
import { redisUrl } from '../support/redis.js';
import { smallAdapter, useStorage } from '../support/storage.js';
import { waitFor } from '../support/wait.js';
import { proxyTo } from './faults/support.js';

/** A budget that no busy machine uses up: who waits at all waits long enough. */
const PATIENT = { redisTimeoutMs: 60_000, createMissingUsers: true };
const NODES = 6;

const bench = useStorage();
let raw: Redis;
let nodes: LoRAStorage[];
let saver: LoRAStorage;
/** With an adapter each, saved before any node was there to hear of it: word that comes late takes tokens away. */
let users: string[];

beforeAll(async () => {
  raw = new Redis(redisUrl());
  saver = await bench.open({ redis: false, createMissingUsers: true });
  users = await Promise.all(Array.from({ length: 71 }, saved));
  nodes = await Promise.all(Array.from({ length: NODES }, () => bench.open(PATIENT)));
});
afterAll(() => raw?.disconnect());

const keyOf = (userId: string) => `${bench.namespace}:v1:{${userId}}:default`;
const token = Buffer.from('LRT1 of somebody who is dead');
const leaveToken = (userId: string) => raw.set(keyOf(userId), token, 'PX', 60_000);
const asked = (all: readonly LoRAStorage[]) => all.reduce((sum, node) => sum + node.cacheStats().postgres.loads, 0);

const user = () => users.shift() ?? expect.fail('no user is left');

async function saved(): Promise<string> {
  const userId = await bench.user();
  await saver.saveAdapter(smallAdapter(userId));
  return userId;
}

test('six nodes, one question to Postgres, for each of forty adapters', async () => {
  const cold = users.splice(0, 40);
  const before = asked(nodes);
  const loaded = await Promise.all(nodes.flatMap((node) => cold.map((user) => node.loadAdapterInfo(user))));
  expect(loaded.map(({ version }) => version)).toEqual(loaded.map(() => 1));
  expect(asked(nodes) - before).toBe(cold.length);
  // Each load is a hit or a miss of Redis, and not both.
  const counted = nodes.map((node) => node.cacheStats().redis).map(({ hits, misses }) => hits + misses);
  expect(counted).toEqual(nodes.map(() => cold.length));
  expect(loaded.filter(({ tier }) => tier === 'postgres')).toHaveLength(cold.length);
});

test('six nodes with one batch: one question, too, and two batches that cross wait for nobody', async () => {
  const batch = users.splice(0, 20);
  const keys = batch.map((userId) => ({ userId }));
  const before = asked(nodes);
  const loaded = await Promise.all(nodes.map((node) => node.loadAdapters(keys)));
  for (const all of loaded) expect(all.map((each) => each instanceof UserLoRAAdapter)).toEqual(batch.map(() => true));
  expect(asked(nodes) - before).toBe(batch.length);

  // Each finds one token of its own and one of the other: who waited would do so for longer than this test may take.
  const [a, b] = [user(), user()];
  await leaveToken(b);
  const [one = saver] = nodes;
  expect(await one.loadAdapters([{ userId: a }, { userId: b }])).toEqual([
    expect.any(UserLoRAAdapter),
    expect.any(UserLoRAAdapter),
  ]);
});

test('a batch waits for what a save or a fill puts there, and claims what is taken away', async () => {
  const [a, b] = [user(), user()];
  await Promise.all([leaveToken(a), leaveToken(b)]);
  const [one = saver, two = saver] = nodes;
  const waiting = one.loadAdapters([{ userId: a }, { userId: b }]);
  await two.saveAdapter(smallAdapter(a));
  await raw.del(keyOf(b));
  expect(await waiting).toEqual([expect.any(UserLoRAAdapter), expect.any(UserLoRAAdapter)]);
  await waitFor(async () => (await raw.strlen(keyOf(b))) > 100);
});

test('an adapter that is not there is asked for once, too', async () => {
  const userId = await bench.user();
  const furthest: unknown[] = [];
  const note = (message: unknown) => {
    const { userId: of, asked, outcome } = message as LoadMessage;
    if (of === userId) furthest.push(`${outcome}, ${asked}`);
  };
  subscribe('lora-store:load', note);
  await Promise.allSettled(nodes.map((node) => node.loadAdapterInfo(userId)));
  unsubscribe('lora-store:load', note);
  expect(furthest.sort()).toEqual(['absent, postgres', ...nodes.slice(1).map(() => 'absent, redis')].sort());
});

test('who waited for one that is dead asks Postgres after its budget, and fills over the token', async () => {
  const userId = user();
  const hasty = await bench.open({ redisTimeoutMs: 1000 });
  await leaveToken(userId);
  expect((await hasty.loadAdapterInfo(userId)).tier).toBe('postgres');
  await waitFor(async () => (await raw.strlen(keyOf(userId))) > 100);
  const [other = hasty] = nodes;
  expect((await other.loadAdapterInfo(userId)).tier).toBe('redis');
});

test('who waits is not kept from what a save puts there meanwhile', async () => {
  const userId = user();
  await leaveToken(userId);
  const [one = saver, two = saver] = nodes;
  const waiting = one.loadAdapterInfo(userId);
  await two.saveAdapter(smallAdapter(userId));
  expect(await waiting).toMatchObject({ version: 2, tier: 'redis' });
});

test('who waits claims the key himself where the token is taken away', async () => {
  const userId = user();
  await leaveToken(userId);
  const [one = saver] = nodes;
  const waiting = one.loadAdapterInfo(userId);
  await raw.del(keyOf(userId));
  expect((await waiting).tier).toBe('postgres');
  await waitFor(async () => (await raw.strlen(keyOf(userId))) > 100);
});

test('where Postgres has nothing that can be filled in, the token goes at once', async () => {
  const userId = user();
  await bench.sql('update lora_adapters set weights = $2 where user_id = $1', [userId, Buffer.alloc(10)]);
  const node = await bench.open(PATIENT);
  await expect(node.loadAdapter(userId)).rejects.toThrow(AdapterCorruptError);
  // It waits for what it does behind its callers' backs, which is over long before a token's time is.
  await node.close();
  expect(await raw.exists(keyOf(userId))).toBe(0);
});

test('where Postgres knows less than was heard, as of a user who was forgotten, too', async () => {
  const userId = user();
  const node = await bench.open(PATIENT);
  await node.loadAdapter(userId);
  await node.forgetUser(userId);
  await expect(node.loadAdapter(userId)).rejects.toThrow(AdapterNotFoundError);
  await node.close();
  expect(await raw.exists(keyOf(userId))).toBe(0);
});

test('where Postgres is away, too', async () => {
  const userId = user();
  const proxy = await proxyTo(bench.postgresUrl);
  const options = { ...PATIENT, postgres: proxy.url(bench.postgresUrl), postgresTimeoutMs: 500, changeFeed: false };
  const node = await bench.open(options);
  proxy.cut();
  await expect(node.loadAdapter(userId)).rejects.toThrow(StorageUnavailableError);
  await node.close();
  expect(await raw.exists(keyOf(userId))).toBe(0);
  await proxy.close();
});

test('without it nobody waits for anybody', async () => {
  const userId = user();
  const alone = await bench.open({ ...PATIENT, fillLease: false });
  await leaveToken(userId);
  // Whoever waited would do so for longer than this test may take.
  expect((await alone.loadAdapterInfo(userId)).tier).toBe('postgres');
});
