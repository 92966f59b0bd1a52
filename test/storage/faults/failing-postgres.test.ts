/**
 * Postgres that fails: while it cannot be asked, what is cached is served and says that it is stale, for as long as was
 * agreed; the rest rejects in bounded time, and nothing reports a version that is not committed. It ends by itself.
 */
import { randomUUID } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { LoRAStorageOptions } from '../../../src/options.js';
import { migrate } from '../../../src/postgres/migrate.js';
import type { LoRAStorage } from '../../../src/storage/lora-storage.js';
import { startPostgres } from '../../support/postgres.js';
import { redisUrl } from '../../support/redis.js';
import { smallAdapter, useStorage } from '../../support/storage.js';
import { waitFor } from '../../support/wait.js';
import { codeOf, earIs, proxyTo, SLACK_MS, versionAt } from './support.js';
import { toldOf } from './told.js';

const bench = useStorage();
/** Of nodes that have to wait for it to run out; the others are as patient as the machine may be busy. */
const BUDGET_MS = 2500;
const STALENESS_MS = 300;

/** A node whose users come into being as they save. */
function open(postgres: string, options: LoRAStorageOptions = {}): Promise<LoRAStorage> {
  return bench.open({ postgres, maxStalenessMs: STALENESS_MS, createMissingUsers: true, ...options });
}

interface Fault {
  begin(): Promise<void> | void;
  end(): Promise<void> | void;
}

/** Begins with a Postgres that is well, and ends with one. */
async function outlives(node: LoRAStorage, fault: Fault): Promise<void> {
  const [kept, missing] = [randomUUID(), randomUUID()];
  const told = toldOf(node, 'postgres');
  await node.saveAdapter(smallAdapter(kept, 1));
  await fault.begin();

  const begun = performance.now();
  expect(await versionAt(node, missing)).toBe('STORAGE_UNAVAILABLE');
  expect(performance.now() - begun).toBeLessThan(BUDGET_MS + SLACK_MS);

  const answers: unknown[] = [];
  await waitFor(async () => {
    const { version, stale } = await node.loadAdapterInfo(kept);
    answers.push(version);
    return stale;
  });
  expect(new Set(answers)).toEqual(new Set([1]));
  expect(await node.loadAdapterInfo(kept)).toMatchObject({ version: 1, stale: true });
  expect(await node.loadAdapters([{ userId: kept }])).toMatchObject([{ userId: kept }]);
  expect(await codeOf(node.loadAdapters([{ userId: kept }, { userId: missing }]))).toBe('STORAGE_UNAVAILABLE');
  expect(await codeOf(node.saveAdapter(smallAdapter(kept, 2)))).toMatch(/STORAGE_UNAVAILABLE|SAVE_OUTCOME_UNKNOWN/);
  expect(await codeOf(node.deleteAdapter(kept))).toBe('STORAGE_UNAVAILABLE');
  expect((await node.health()).postgres).toBe('down');
  await waitFor(() => versionAt(node, missing).then(() => told.length > 0));

  await fault.end();
  await waitFor(async () => !(await node.loadAdapterInfo(kept)).stale);
  expect(await versionAt(node, kept)).toBe(1);
  expect(await node.saveAdapter(smallAdapter(kept, 2))).toBe(2);
  expect(await node.loadAdapterInfo(kept)).toMatchObject({ version: 2, stale: false });
  expect(await versionAt(node, missing)).toBe('ADAPTER_NOT_FOUND');
  expect(await node.health()).toMatchObject({ postgres: 'up' });
  expect(told).toEqual(['degraded', 'recovered']);
  await node.close();
}

const modes: [string, () => LoRAStorageOptions][] = [
  ['feed and Redis', () => ({ redis: redisUrl() })],
  ['the feed alone', () => ({ redis: false })],
  ['Redis alone', () => ({ redis: redisUrl(), changeFeed: false })],
  ['neither', () => ({ redis: false, changeFeed: false })],
];

describe.concurrent('out of reach: hits are served, misses reject in time, no save succeeds, and it ends by itself', () => {
  test.each(modes)('it refuses connections: with %s', async (_, mode) => {
    const proxy = await proxyTo(bench.postgresUrl);
    await outlives(await open(proxy.url(bench.postgresUrl), mode()), { begin: proxy.cut, end: proxy.heal });
    await proxy.close();
  });

  test.each(modes)('it hangs: with %s', async (_, mode) => {
    const proxy = await proxyTo(bench.postgresUrl);
    const node = await open(proxy.url(bench.postgresUrl), { ...mode(), postgresTimeoutMs: BUDGET_MS });
    await outlives(node, { begin: proxy.mute, end: proxy.heal });
    await proxy.close();
  });
});

test('while it is left alone, each call says what the last ones met, and where', async () => {
  const proxy = await proxyTo(bench.postgresUrl);
  const url = new URL(proxy.url(bench.postgresUrl));
  const node = await open(url.toString(), { redis: false, changeFeed: false, memory: false });
  proxy.cut();
  const calls = [
    () => node.loadAdapter(randomUUID()),
    () => node.saveAdapter(smallAdapter(randomUUID())),
    () => node.deleteAdapter(randomUUID()),
  ];
  for (const call of calls) {
    const error = await waitFor(async () => {
      const reason = await call().catch((rejected) => rejected);
      return reason.message.startsWith('Postgres is not asked for a moment') && reason;
    });
    expect(error).toMatchObject({ code: 'STORAGE_UNAVAILABLE', cause: { name: 'UnreachableError' } });
    expect(error.message).toBe(
      `Postgres is not asked for a moment, since the last calls ended so: ${error.cause.message}`,
    );
    expect(error.message).toContain(`cannot use Postgres at 127.0.0.1:${proxy.port}${url.pathname}: `);
    for (const secret of ['circuit', url.password && `:${url.password}`]) {
      if (secret !== '') expect(error.message).not.toContain(secret);
    }
  }
  await node.close();
  await proxy.close();
});

// Alone: making a server of its own is work.
test('a server that is killed and restarted is outlived as well: with feed and Redis, either, neither', async () => {
  const server = await startPostgres();
  await migrate({ postgres: server.url });
  const nodes = await Promise.all(modes.map(([, mode]) => open(server.url, mode())));
  // All begin when the last is ready, and the server is back when the last has seen enough.
  const together = { begin: barrier(nodes.length, server.kill), end: barrier(nodes.length, server.restart) };
  await Promise.all(nodes.map((node) => outlives(node, together)));
  await server.stop();
});

/** Of `count` callers the last one acts, and all wait for it. */
function barrier(count: number, act: () => Promise<void>): () => Promise<void> {
  let missing = count;
  let open = (_: Promise<void>) => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return () => {
    if (--missing === 0) open(act());
    return opened;
  };
}

describe.concurrent('the time that a hit may be stale for', () => {
  /** What loads of `userId` say until one is refused, and with what. */
  async function untilRefused(node: LoRAStorage, userId: string) {
    const ages: number[] = [];
    const code = await waitFor(async () => {
      try {
        const { stale, verifiedAgeMs } = await node.loadAdapterInfo(userId);
        if (stale) ages.push(verifiedAgeMs);
        return undefined;
      } catch (error) {
        return (error as { code: string }).code;
      }
    });
    return { code, ages };
  }

  test.each([true, false])('is over when it is over: change feed %s', async (changeFeed) => {
    const proxy = await proxyTo(bench.postgresUrl);
    const node = await open(proxy.url(bench.postgresUrl), { redis: false, changeFeed, staleIfErrorMs: 700 });
    const userId = randomUUID();
    await node.saveAdapter(smallAdapter(userId));
    proxy.cut();
    const { code, ages } = await untilRefused(node, userId);
    expect(code).toBe('STORAGE_UNAVAILABLE');
    expect(ages.length).toBeGreaterThan(0);
    expect(Math.max(...ages)).toBeLessThan(STALENESS_MS + 700 + SLACK_MS);
    expect(await codeOf(node.loadAdapters([{ userId }]))).toBe('STORAGE_UNAVAILABLE');
    proxy.heal();
    await waitFor(async () => (await versionAt(node, userId)) === 1);
    await node.close();
    await proxy.close();
  });

  test.each([true, false])('is none at all where it is 0: change feed %s', async (changeFeed) => {
    const proxy = await proxyTo(bench.postgresUrl);
    const node = await open(proxy.url(bench.postgresUrl), { redis: false, changeFeed, staleIfErrorMs: 0 });
    const userId = randomUUID();
    await node.saveAdapter(smallAdapter(userId));
    proxy.cut();
    expect(await untilRefused(node, userId)).toEqual({ code: 'STORAGE_UNAVAILABLE', ages: [] });
    await node.close();
    await proxy.close();
  });

  test.each([
    [true, 1],
    [false, 'STORAGE_UNAVAILABLE'],
  ])('of bytes that only Redis has is known where a feed vouched for them: %s', async (changeFeed, expected) => {
    const proxy = await proxyTo(bench.postgresUrl);
    const node = await open(proxy.url(bench.postgresUrl), { memory: false, changeFeed });
    const userId = randomUUID();
    await node.saveAdapter(smallAdapter(userId));
    await waitFor(async () => (await node.loadAdapterInfo(userId)).tier === 'redis');
    proxy.cut();
    if (changeFeed) await earIs(node, 'down');
    expect(await versionAt(node, userId)).toBe(expected);
    if (changeFeed) expect(await node.loadAdapterInfo(userId)).toMatchObject({ tier: 'redis', stale: true });
    await node.close();
    await proxy.close();
  });
});
