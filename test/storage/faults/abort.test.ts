/** A load that is aborted, wherever it has come to: its caller hears at once, nobody else is harmed, nothing stays behind. */
import { Redis } from 'ioredis';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { LoRAStorage } from '../../../src/storage/lora-storage.js';
import { endPool } from '../../support/pools.js';
import { redisUrl } from '../../support/redis.js';
import { useStorage } from '../../support/storage.js';
import { waitFor } from '../../support/wait.js';
import { gateReads } from './gates.js';
import { codeOf, countingPool, holdHeads, insertAdapters, proxyTo, waitingSessions } from './support.js';

const bench = useStorage();
const gone = new Error('the request went away');
const closing: (() => unknown)[] = [];
const unhandled: unknown[] = [];
const note = (reason: unknown) => unhandled.push(reason);

beforeEach(() => void process.on('unhandledRejection', note));
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  process.off('unhandledRejection', note);
  expect(unhandled.splice(0)).toEqual([]);
});

async function counted(max: number, options = {}) {
  const { pool, sent } = countingPool(bench.postgresUrl, max);
  closing.push(() => endPool(pool));
  const node = await bench.open({ postgres: pool, redis: false, ...options });
  closing.push(() => node.close());
  return { node, loads: () => sent.filter((name) => name.startsWith('load')).length };
}

/** A single load or a batch, which may be aborted. */
type Ask = (node: LoRAStorage, userId: string, signal?: AbortSignal) => Promise<unknown>;
const ways: [string, Ask][] = [
  ['a single load', (node, userId, signal) => node.loadAdapter(userId, 'default', signal && { signal })],
  ['a batch', (node, userId, signal) => node.loadAdapters([{ userId }], signal && { signal })],
];

/** Two who will leave, and one who stays unless `alone`. Returns what ends the first two, and what became of all. */
function crowd(ask: Ask, node: LoRAStorage, userId: string, alone: boolean) {
  const controller = new AbortController();
  const leaving = [1, 2].map(() => ask(node, userId, controller.signal).catch((error) => error));
  const staying = alone ? [] : [node.loadAdapter(userId), ask(node, userId)];
  return {
    async abort() {
      controller.abort(gone);
      expect(await Promise.all(leaving)).toEqual([gone, gone]);
    },
    served: Promise.all(staying),
  };
}

for (const [what, ask] of ways) {
  test(`${what}, before it began: nothing is asked`, async () => {
    const [userId = ''] = await insertAdapters(bench, 1);
    const { node, loads } = await counted(2);
    const aborted = ask(node, userId, AbortSignal.abort(gone));
    await expect(aborted).rejects.toBe(gone);
    expect(loads()).toBe(0);
    expect(node.cacheStats().memory.misses).toBe(0);
    await ask(node, userId);
    expect(loads()).toBe(1);
  });

  for (const alone of [false, true]) {
    const who = `${what}, ${alone ? 'by all who wait' : 'while others stay'}`;

    test(`${who}: while Postgres is asked`, async () => {
      const [userId = ''] = await insertAdapters(bench, 1);
      const { node, loads } = await counted(2);
      const heads = await holdHeads(bench.postgresUrl);
      const { abort, served } = crowd(ask, node, userId, alone);
      await waitFor(async () => (await waitingSessions(bench)) === 1);
      await abort();
      await heads.release();
      await served;
      // It was asked for once, and what came of it is kept for who comes later.
      await waitFor(() => node.peekAdapter(userId));
      await ask(node, userId);
      expect(loads()).toBe(1);
    });

    test(`${who}: while it waits for a connection`, async () => {
      const [other = '', userId = ''] = await insertAdapters(bench, 2);
      const { node, loads } = await counted(1);
      const heads = await holdHeads(bench.postgresUrl);
      const first = node.loadAdapter(other);
      await waitFor(async () => (await waitingSessions(bench)) === 1);
      const { abort, served } = crowd(ask, node, userId, alone);
      await abort();
      expect(loads()).toBe(1);
      await heads.release();
      await Promise.all([first, served]);
      await ask(node, userId);
      expect(loads()).toBe(2);
    });
  }
}

for (const alone of [false, true]) {
  test(`while Redis is asked, ${alone ? 'by all who wait' : 'while others stay'}`, async () => {
    const [userId = ''] = await insertAdapters(bench, 1);
    const client = new Redis(redisUrl());
    closing.push(() => client.disconnect());
    const { node, loads } = await counted(2, { redis: client });
    const gate = gateReads(client);
    gate.shut();
    const [, single] = ways[0] as (typeof ways)[0];
    const { abort, served } = crowd(single, node, userId, alone);
    await waitFor(() => gate.waiting === 1);
    await abort();
    expect(loads()).toBe(0);
    gate.open();
    await served;
    await waitFor(() => node.peekAdapter(userId));
    expect(loads()).toBe(1);
  });
}

test('all have left and then it fails: nobody hears, and the next load starts anew', async () => {
  const [userId = ''] = await insertAdapters(bench, 1);
  const proxy = await proxyTo(bench.postgresUrl);
  closing.push(() => proxy.close());
  const postgres = { primary: proxy.url(bench.postgresUrl), direct: bench.postgresUrl };
  const node = await bench.open({ postgres, redis: false });
  closing.push(() => node.close());
  for (const [, ask] of ways) {
    const heads = await holdHeads(bench.postgresUrl);
    const { abort } = crowd(ask, node, userId, true);
    await waitFor(async () => (await waitingSessions(bench)) === 1);
    await abort();
    const { errors } = node.cacheStats().postgres;
    proxy.cut();
    await waitFor(() => node.cacheStats().postgres.errors > errors);
    proxy.heal();
    await heads.release();
    expect(node.peekAdapter(userId)).toBeUndefined();
  }
  expect(await waitFor(() => node.loadAdapter(userId))).toMatchObject({ userId });
});

test('one signal for many loads ends them all, and no other', async () => {
  const users = await insertAdapters(bench, 10);
  const { node } = await counted(4);
  const heads = await holdHeads(bench.postgresUrl);
  const controller = new AbortController();
  const { signal } = controller;
  const leaving = users.map((userId) => codeOf(node.loadAdapter(userId, 'default', { signal })));
  const staying = Promise.all(users.slice(5).map((userId) => node.loadAdapter(userId)));
  controller.abort();
  expect(new Set(await Promise.all(leaving)).size).toBe(1);
  await heads.release();
  expect((await staying).map(({ userId }) => userId)).toEqual(users.slice(5));
});
