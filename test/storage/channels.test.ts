/** What goes out on 'lora-store:*': each call once, told to its caller's context, with where and how it ended. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { randomUUID } from 'node:crypto';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { expect, test, vi } from 'vitest';
import type { LoadMessage } from '../../src/storage/channels.js';
import type { LoRAStorage } from '../../src/storage/lora-storage.js';
import { messagesOf } from '../support/messages.js';
import { smallAdapter, useStorage } from '../support/storage.js';
import { waitFor } from '../support/wait.js';
import { holdHeads, proxyTo, waitingSessions } from './faults/support.js';

const bench = useStorage();

const ended = ({ outcome, tier, asked }: LoadMessage) => ({ outcome, tier, asked });

/** A user with a saved adapter. */
async function saved(): Promise<string> {
  const userId = await bench.user();
  const saver = await bench.open({ redis: false });
  await saver.saveAdapter(smallAdapter(userId));
  await saver.close();
  return userId;
}

test('a load that found something, by what was asked for it and where its bytes came from', async () => {
  const userId = await saved();
  const node = await bench.open({ redis: false });
  const messages = messagesOf(node, 'load');
  await node.loadAdapter(userId);
  await node.loadAdapter(userId);
  await node.loadAdapterInfo(userId);
  node.peekAdapter(userId);
  const [first, ...others] = messages;
  expect(first).toEqual({
    storage: node,
    userId,
    adapterName: 'default',
    outcome: 'hit',
    tier: 'postgres',
    asked: 'postgres',
    version: 1,
    durationMs: expect.any(Number),
    verifiedAgeMs: expect.any(Number),
    error: undefined,
  });
  const hit = { outcome: 'hit', tier: 'memory', asked: 'memory' };
  expect(others.map(ended)).toEqual([hit, hit, hit]);
  expect(messages.every(({ durationMs }) => durationMs > 0)).toBe(true);
});

test('a body that memory or Redis held, and Postgres said is the latest', async () => {
  const userId = await bench.user();
  // Without an ear what memory holds counts for a moment, and what Redis holds never by itself.
  const node = await bench.open({ changeFeed: false, maxStalenessMs: 1 });
  await node.saveAdapter(smallAdapter(userId));
  await waitFor(() => node.peekAdapter(userId) === undefined);
  const messages = messagesOf(node, 'load');
  await node.loadAdapter(userId);
  await waitFor(() => node.cacheStats().bus.published === 1);
  const other = await bench.open({ memory: false, changeFeed: false });
  const others = messagesOf(other, 'load');
  await other.loadAdapter(userId);
  expect(messages.map(ended)).toEqual([{ outcome: 'verified', tier: 'memory', asked: 'postgres' }]);
  expect(others.map(ended)).toEqual([{ outcome: 'verified', tier: 'redis', asked: 'postgres' }]);
});

test('a body that Redis held, which the ear vouches for', async () => {
  const userId = await bench.user();
  const node = await bench.open({ memory: false });
  await node.saveAdapter(smallAdapter(userId));
  await waitFor(() => node.cacheStats().bus.published === 1);
  const messages = messagesOf(node, 'load');
  await node.loadAdapter(userId);
  expect(messages.map(ended)).toEqual([{ outcome: 'hit', tier: 'redis', asked: 'redis' }]);
});

test('an adapter that is not there, asked for and known, and a version that is not', async () => {
  const userId = await bench.user();
  const node = await bench.open({ redis: false });
  const messages = messagesOf(node, 'load');
  await expect(node.loadAdapter(userId)).rejects.toThrow('not found');
  await expect(node.loadAdapter(userId)).rejects.toThrow('not found');
  await expect(node.loadAdapterVersion(userId, 'default', 7)).rejects.toThrow('not found');
  expect(node.peekAdapter(userId)).toBeUndefined();
  expect(messages.map(ended)).toEqual([
    { outcome: 'absent', tier: 'postgres', asked: 'postgres' },
    { outcome: 'absent', tier: 'memory', asked: 'memory' },
    { outcome: 'absent', tier: 'postgres', asked: 'postgres' },
  ]);
});

test('one version, where memory holds it and where Postgres has to be asked', async () => {
  const userId = await bench.user();
  const node = await bench.open({ redis: false });
  await node.saveAdapter(smallAdapter(userId));
  await node.saveAdapter(smallAdapter(userId, 2));
  const messages = messagesOf(node, 'load');
  await node.loadAdapterVersion(userId, 'default', 2);
  await node.loadAdapterVersion(userId, 'default', 1);
  expect(messages.map(({ tier, version, verifiedAgeMs }) => ({ tier, version, verifiedAgeMs }))).toEqual([
    { tier: 'memory', version: 2, verifiedAgeMs: undefined },
    { tier: 'postgres', version: 1, verifiedAgeMs: undefined },
  ]);
});

test('what degraded while it opened, and has not recovered, is told again once somebody can listen to it', async () => {
  const proxy = await proxyTo(bench.postgresUrl);
  proxy.cut();
  const [opening, told]: [unknown[], { tier: string; cause: Error }[]] = [[], []];
  // Nodes of other tests may still have something to say, under their names.
  const note = (message: unknown) => (message as { storage?: unknown }).storage ?? opening.push(message);
  subscribe('lora-store:degraded', note);
  const postgres = { primary: bench.postgresUrl, direct: proxy.url(bench.postgresUrl) };
  const node = await bench.open({ postgres, redis: false });
  node.on('degraded', (event) => told.push(event));
  await waitFor(() => told.length > 0);
  expect(told).toEqual([{ tier: 'change-feed', cause: expect.any(Error) }]);
  expect(opening).toEqual([{ ...told[0], storage: undefined }]);
  unsubscribe('lora-store:degraded', note);
  await node.close();
  await proxy.close();
});

test('Postgres away: stale where something is held, unavailable where nothing is, and its save', async () => {
  const [kept, unknown] = [await saved(), await saved()];
  const proxy = await proxyTo(bench.postgresUrl);
  const url = proxy.url(bench.postgresUrl);
  const node = await bench.open({ postgres: url, redis: false, changeFeed: false, maxStalenessMs: 1 });
  await node.loadAdapter(kept);
  const [messages, saves, degraded] = [
    messagesOf(node, 'load'),
    messagesOf(node, 'save'),
    messagesOf(node, 'degraded'),
  ];
  proxy.cut();
  await waitFor(() => node.peekAdapter(kept) === undefined);
  await node.loadAdapter(kept);
  const fallback = smallAdapter(unknown, 9);
  expect(await node.loadAdapterOr(unknown, 'default', () => fallback)).toBe(fallback);
  await expect(node.saveAdapter(smallAdapter(kept, 2))).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
  expect(messages.map(ended)).toEqual([
    { outcome: 'stale', tier: 'memory', asked: 'postgres' },
    { outcome: 'unavailable', tier: undefined, asked: undefined },
  ]);
  expect(messages[1]?.error).toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
  expect(saves.map(({ outcome, version }) => ({ outcome, version }))).toEqual([
    { outcome: 'unavailable', version: undefined },
  ]);
  // Its breaker has opened, and says so to whoever listens to the whole process.
  await waitFor(async () => {
    await node.loadAdapter(unknown).catch(() => undefined);
    return degraded.length > 0;
  });
  expect(degraded[0]).toMatchObject({ storage: node, tier: 'postgres', cause: expect.any(Error) });
  await node.close();
  await proxy.close();
});

test('bad bytes, a signal, a budget and a full queue', async () => {
  const userId = await saved();
  const postgres = { connectionString: bench.postgresUrl, max: 1 };
  const node = await bench.open({ postgres, redis: false, memory: false, maxQueue: 1 });
  const messages = messagesOf(node, 'load');
  await bench.sql(`update lora_adapters set weights = '\\x00' where user_id = $1`, [userId]);
  await expect(node.loadAdapter(userId)).rejects.toMatchObject({ code: 'ADAPTER_CORRUPT' });

  const held = await holdHeads(bench.postgresUrl);
  const controller = new AbortController();
  const slow = [randomUUID(), randomUUID()];
  const aborted = node.loadAdapter(slow[0] ?? '', 'default', { signal: controller.signal }).catch((reason) => reason);
  await waitFor(async () => (await waitingSessions(bench)) === 1);
  const budget = node.loadAdapterOr(slow[1] ?? '', 'default', () => smallAdapter(userId), { budgetMs: 0 });
  const refused = node.loadAdapter(randomUUID()).catch((reason) => reason);
  await Promise.all([budget, refused]);
  controller.abort(new Error('the request went away'));
  await aborted;
  await held.release();
  await expect(node.loadAdapter(userId, 'default', { signal: controller.signal })).rejects.toThrow('went away');
  expect(messages.map(({ outcome }) => outcome).sort()).toEqual([
    'aborted',
    'aborted',
    'corrupt',
    'overloaded',
    'timeout',
  ]);
});

test('weights that were written to under LORA_STORE_GUARD=1', async () => {
  const userId = await saved();
  vi.stubEnv('LORA_STORE_GUARD', '1');
  const node = await bench.open({ redis: false });
  vi.unstubAllEnvs();
  const loaded = await node.loadAdapter(userId);
  (loaded.baseLayerWeights.data as Float32Array)[0] = 42;
  const messages = messagesOf(node, 'load');
  expect(() => node.peekAdapter(userId)).toThrow('written to');
  expect(messages.map(ended)).toEqual([{ outcome: 'error', tier: undefined, asked: undefined }]);
});

test('callers who share one flight are told each in his own context, before he goes on', async () => {
  const userId = await saved();
  const node = await bench.open({ redis: false, memory: false });
  const request = new AsyncLocalStorage<string>();
  const order: string[] = [];
  messagesOf(node, 'load', () => order.push(`told ${request.getStore()}`));
  const ask = (name: string) =>
    request.run(name, async () => {
      await node.loadAdapter(userId);
      order.push(`served ${name}`);
    });
  await Promise.all([ask('a'), ask('b')]);
  expect(node.cacheStats().coalesced).toBe(1);
  for (const name of ['a', 'b']) {
    expect(order.filter((step) => step.endsWith(name))).toEqual([`told ${name}`, `served ${name}`]);
  }
});

test('a call for many is one message, of all its keys', async () => {
  const [hot, cold, bad] = [await saved(), await saved(), await saved()];
  const node = await bench.open({ redis: false });
  await node.loadAdapter(hot);
  await bench.sql(`update lora_adapters set weights = '\\x00' where user_id = $1`, [bad]);
  const [messages, single] = [messagesOf(node, 'load-many'), messagesOf(node, 'load')];
  const keys = [hot, cold, bad, randomUUID(), hot].map((userId) => ({ userId }));
  await node.loadAdapters(keys);
  await node.loadAdaptersInto([{ userId: hot }], new Float32Array(6), new Float32Array(8));
  const signal = AbortSignal.abort(new Error('went away'));
  await expect(node.loadAdapters([{ userId: hot }], { signal })).rejects.toThrow('went away');
  expect(messages).toEqual([
    {
      storage: node,
      keys: 5,
      outcome: 'answered',
      outcomes: { hit: 3, corrupt: 1, absent: 1 },
      asked: 'postgres',
      durationMs: expect.any(Number),
      error: undefined,
    },
    expect.objectContaining({ keys: 1, outcomes: { hit: 1 }, asked: 'memory' }),
    expect.objectContaining({ keys: 1, outcome: 'aborted', outcomes: {}, error: signal.reason }),
  ]);
  expect(single).toEqual([]);
});

test('saves and rollbacks, and how they end', async () => {
  const userId = await bench.user();
  // An ear might hear of a save before it is answered.
  const node = await bench.open({ redis: false, changeFeed: false });
  const [messages, invalidated] = [messagesOf(node, 'save'), messagesOf(node, 'invalidated')];
  await node.saveAdapter(smallAdapter(userId), 'main');
  await node.saveAdapter(smallAdapter(userId), 'main', { expectedVersion: 7 }).catch(() => undefined);
  await node.saveAdapter(smallAdapter(randomUUID())).catch(() => undefined);
  await node.rollbackAdapter(userId, 'main', 1);
  await node.rollbackAdapter(userId, 'main', 99).catch(() => undefined);
  expect(messages[0]).toEqual({
    storage: node,
    operation: 'save',
    userId,
    adapterName: 'main',
    outcome: 'saved',
    version: 1,
    durationMs: expect.any(Number),
    error: undefined,
  });
  const facts = messages.map(({ operation, outcome, version }) => [operation, outcome, version]);
  expect(facts).toEqual([
    ['save', 'saved', 1],
    ['save', 'conflict', undefined],
    ['save', 'no_user', undefined],
    ['rollback', 'saved', 2],
    ['rollback', 'absent', undefined],
  ]);
  expect(invalidated.every(({ storage, via }) => storage === node && via === 'self')).toBe(true);
  expect(invalidated.length).toBeGreaterThan(0);
});

test('each message names its storage, and a storage is told nothing of another', async () => {
  const userId = await saved();
  const nodes: LoRAStorage[] = [await bench.open({ redis: false }), await bench.open({ redis: false })];
  const [first = [], second = []] = nodes.map((node) => messagesOf(node, 'load'));
  await nodes[0]?.loadAdapter(userId);
  expect([first.length, second.length]).toEqual([1, 0]);
});
