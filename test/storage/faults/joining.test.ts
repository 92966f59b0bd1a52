/** A batch and single loads of the same keys: one flight for a key, whoever began it; who must not join starts anew. */
import { afterEach, expect, test } from 'vitest';
import { AdapterCorruptError } from '../../../src/errors.js';
import type { LoRAStorage } from '../../../src/storage/lora-storage.js';
import { endPool } from '../../support/pools.js';
import { smallAdapter, useStorage } from '../../support/storage.js';
import { waitFor } from '../../support/wait.js';
import { gatedPool } from './gates.js';
import { codeOf, countingPool, holdHeads, insertAdapters, proxyTo, versionAt, waitingSessions } from './support.js';

const bench = useStorage();
const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function counted(options = {}) {
  const { pool, sent } = countingPool(bench.postgresUrl, 4);
  closing.push(() => endPool(pool));
  const node = await bench.open({ postgres: pool, ...options });
  closing.push(() => node.close());
  return { node, loads: () => sent.filter((name) => name.startsWith('load')) };
}

/** Its loads are read and not yet told of, as long as the gate is shut. */
async function gated(options = {}) {
  const { pool, gate } = gatedPool(bench.postgresUrl, 4);
  closing.push(() => endPool(pool));
  const node = await bench.open({ postgres: pool, redis: false, ...options });
  closing.push(() => node.close());
  return { node, gate };
}

const batch = (node: LoRAStorage, ...users: string[]) => node.loadAdapters(users.map((userId) => ({ userId })));
const usersOf = (adapters: Awaited<ReturnType<typeof batch>>) =>
  adapters.map((adapter) => (adapter && 'userId' in adapter ? adapter.userId : adapter));

for (const redis of [undefined, false as const]) {
  const how = { ...(redis === false ? { redis } : {}) };
  const title = redis === false ? 'Redis off' : 'Redis on';

  test(`a single load and another batch join a batch under way: ${title}`, async () => {
    const [a = '', b = ''] = await insertAdapters(bench, 2);
    const { node, loads } = await counted(how);
    const heads = await holdHeads(bench.postgresUrl);
    const first = batch(node, a, b);
    await waitFor(async () => (await waitingSessions(bench)) === 1);
    const [single, second] = [node.loadAdapter(b), batch(node, b, a)];
    await heads.release();
    expect(usersOf(await first)).toEqual([a, b]);
    expect((await single).userId).toBe(b);
    expect(usersOf(await second)).toEqual([b, a]);
    expect(loads()).toEqual(['load_many']);
    expect(node.cacheStats()).toMatchObject({ coalesced: 3, postgres: { loads: 2 } });
  });

  test(`a batch joins the single loads under way, and asks for the others: ${title}`, async () => {
    const [a = '', b = '', c = ''] = await insertAdapters(bench, 3);
    const { node, loads } = await counted(how);
    const heads = await holdHeads(bench.postgresUrl);
    const single = node.loadAdapter(a);
    await waitFor(async () => (await waitingSessions(bench)) === 1);
    const both = batch(node, a, b, c);
    await waitFor(async () => (await waitingSessions(bench)) === 2);
    await heads.release();
    expect(usersOf(await both)).toEqual([a, b, c]);
    expect((await single).userId).toBe(a);
    expect(loads()).toEqual(['load', 'load_many']);
    // Three bodies: the batch has not asked for the first one again.
    expect(node.cacheStats()).toMatchObject({ coalesced: 1, postgres: { loads: 3 } });
  });
}

test.each(['batch', 'single'])('word of a newer version: who comes after it does not join a %s', async (kind) => {
  const [userId = ''] = await insertAdapters(bench, 1);
  const { node, gate } = await gated();
  const saver = await bench.open({ redis: false });
  // 1. Version 1 is read; the answer has not come.
  gate.shut();
  const slow = kind === 'batch' ? batch(node, userId).then(([adapter]) => adapter) : node.loadAdapter(userId);
  await waitFor(() => gate.waiting === 1);
  gate.leave();
  // 2. Version 2 is committed, and this node hears of it.
  const heard = new Promise((resolve) => node.on('invalidated', resolve));
  await saver.saveAdapter(smallAdapter(userId, 2));
  await heard;
  // 3. Whoever asks now gets version 2, in either way.
  const [adapter] = await batch(node, userId);
  expect(adapter).toMatchObject({ userId });
  expect(await versionAt(node, userId)).toBe(2);
  gate.open();
  expect(await slow).toMatchObject({ userId });
  expect(await versionAt(node, userId)).toBe(2);
});

test('a batch that is as old as maxStalenessMs is not joined', async () => {
  const [userId = ''] = await insertAdapters(bench, 1);
  const { node, gate } = await gated({ changeFeed: false, maxStalenessMs: 200 });
  gate.shut();
  const begun = performance.now();
  const slow = batch(node, userId);
  await waitFor(() => gate.waiting === 1);
  gate.leave();
  await bench.sql('delete from lora_adapters where user_id = $1', [userId]);
  await waitFor(() => performance.now() - begun > 200);
  expect(await versionAt(node, userId)).toBe('ADAPTER_NOT_FOUND');
  gate.open();
  expect(usersOf(await slow)).toEqual([userId]);
});

test.each(['batch', 'single'])(
  'bad bytes reject a single load and are an answer in a batch: a %s first',
  async (kind) => {
    const [good = '', bad = ''] = await insertAdapters(bench, 2);
    await bench.sql(`update lora_adapters set weights = 'no record' where user_id = $1`, [bad]);
    const { node, loads } = await counted({ redis: false });
    const told: unknown[] = [];
    node.on('corrupt', ({ userId }) => told.push(userId));
    const heads = await holdHeads(bench.postgresUrl);
    const ask = { batch: () => batch(node, bad, good), single: () => node.loadAdapter(bad) };
    let [many, one]: [ReturnType<typeof ask.batch> | undefined, ReturnType<typeof ask.single> | undefined] = [
      undefined,
      undefined,
    ];
    if (kind === 'single') one = ask.single();
    many = ask.batch();
    one ??= ask.single();
    const code = codeOf(one);
    await waitFor(async () => (await waitingSessions(bench)) === (kind === 'batch' ? 1 : 2));
    await heads.release();
    expect(await code).toBe('ADAPTER_CORRUPT');
    const [first, second] = await many;
    expect(first).toBeInstanceOf(AdapterCorruptError);
    expect(second).toMatchObject({ userId: good });
    expect(told).toEqual([bad]);
    expect(loads()).toEqual(kind === 'batch' ? ['load_many'] : ['load', 'load_many']);
  },
);

test('who joins a batch for what Redis has does not wait for what only Postgres has', async () => {
  const [cold = ''] = await insertAdapters(bench, 1);
  const warm = await bench.user();
  const { node, loads } = await counted({ memory: false });
  // Saved while this node listens: what Redis holds of it counts.
  await (await bench.open()).saveAdapter(smallAdapter(warm));
  await waitFor(async () => (await node.loadAdapterInfo(warm)).tier === 'redis');
  const before = [...loads()];
  const heads = await holdHeads(bench.postgresUrl);
  const both = batch(node, warm, cold);
  expect((await node.loadAdapter(warm)).userId).toBe(warm);
  expect(node.cacheStats().coalesced).toBe(1);
  await waitFor(async () => (await waitingSessions(bench)) === 1);
  await heads.release();
  expect(usersOf(await both)).toEqual([warm, cold]);
  expect(loads()).toEqual([...before, 'load_many']);
});

test('Postgres fails under a batch: all who wait hear of it, nothing is left behind, and the next load is served', async () => {
  const [a = '', b = ''] = await insertAdapters(bench, 2);
  const proxy = await proxyTo(bench.postgresUrl);
  closing.push(() => proxy.close());
  const postgres = { primary: proxy.url(bench.postgresUrl), direct: bench.postgresUrl };
  const node = await bench.open({ postgres, redis: false });
  closing.push(() => node.close());
  const heads = await holdHeads(bench.postgresUrl);
  const waiting = [batch(node, a, b), node.loadAdapter(a), node.loadAdapter(b)].map(codeOf);
  await waitFor(async () => (await waitingSessions(bench)) === 1);
  proxy.cut();
  expect(await Promise.all(waiting)).toEqual(Array(3).fill('STORAGE_UNAVAILABLE'));
  proxy.heal();
  await heads.release();
  expect((await waitFor(() => node.loadAdapter(a))).userId).toBe(a);
  expect(usersOf(await batch(node, a, b))).toEqual([a, b]);
});
