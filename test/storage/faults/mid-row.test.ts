/** A connection to Postgres that ends in the middle of an answer: it is asked for again, and half an answer is none. */
import { describe, expect, test } from 'vitest';
import { UserLoRAAdapter } from '../../../src/adapter/adapter.js';
import { encodeAdapter } from '../../../src/adapter/codec.js';
import { useStorage } from '../../support/storage.js';
import { codeOf, proxyTo } from './support.js';

const bench = useStorage();

/** Of 41 KB, as they are stored by default. */
const adapterOf = (userId: string) => new UserLoRAAdapter(userId).initializeRandom(1);
/** In the middle of the first body of an answer, and of the second. */
const [FIRST, SECOND] = [20_000, 60_000];

const areWhole = (adapters: unknown[], users: readonly string[]) =>
  adapters.every(
    (adapter, i) =>
      adapter instanceof UserLoRAAdapter && encodeAdapter(adapter).equals(encodeAdapter(adapterOf(users[i] as string))),
  );

/** Three users, and a node with so many connections that all go through a proxy, its ear apart. */
async function prepare(name: string, connections: number) {
  const proxy = await proxyTo(bench.postgresUrl);
  const users = [await bench.user(), await bench.user(), await bench.user()] as const;
  const bare = await bench.open({ redis: false });
  for (const userId of users) await bare.saveAdapter(adapterOf(userId));
  await bare.close();
  const primary = { connectionString: proxy.url(bench.postgresUrl), max: connections, application_name: name };
  const node = await bench.open({ postgres: { primary, direct: bench.postgresUrl }, redis: false });
  await Promise.all(Array.from({ length: connections }, () => node.countAdapters(users[0])));
  expect(proxy.connections).toBe(connections);
  /** Which backends serve it now. */
  const backends = async () => {
    const rows = await bench.sql<{ pid: number }>('select pid from pg_stat_activity where application_name = $1', [
      name,
    ]);
    return rows.map(({ pid }) => pid);
  };
  const close = async () => {
    await node.close();
    await proxy.close();
  };
  return { proxy, node, users, backends, close };
}

describe('an answer that ends in the middle of a row', () => {
  test('is asked for again, and the caller never knows', async () => {
    const { proxy, node, users, backends, close } = await prepare('mid-row once', 1);
    const served = await backends();
    proxy.cutAfter(FIRST);
    expect(areWhole([await node.loadAdapter(users[0])], users)).toBe(true);
    served.push(...(await backends()));
    proxy.cutAfter(SECOND);
    const others = users.slice(1);
    expect(areWhole(await node.loadAdapters(others.map((userId) => ({ userId }))), others)).toBe(true);
    served.push(...(await backends()));
    expect(new Set(served).size).toBe(3);
    expect(node.cacheStats().postgres).toMatchObject({ errors: 0, loads: 3 });
    await close();
  });

  test.each([
    ['loadAdapter', FIRST],
    ['loadAdapters', SECOND],
  ])('twice over is an error, and nothing of it is kept: %s', async (call, at) => {
    const { proxy, node, users, close } = await prepare(`mid-row twice ${call}`, 2);
    const load = async () =>
      call === 'loadAdapter'
        ? [await node.loadAdapter(users[0])]
        : await node.loadAdapters(users.map((userId) => ({ userId })));
    proxy.cutAfter(at);
    expect(await codeOf(load())).toBe('STORAGE_UNAVAILABLE');
    expect(node.cacheStats()).toMatchObject({ memory: { entries: 0 }, postgres: { errors: 1 } });
    expect(node.peekAdapter(users[0])).toBeUndefined();
    expect(areWhole(await load(), users)).toBe(true);
    await close();
  });
});
