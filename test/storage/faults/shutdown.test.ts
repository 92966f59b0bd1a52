/** close() whatever is going on, and open() that is refused half-way: every promise ends, and so does the process. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { type Child, startChild } from '../../support/processes.js';
import { redisUrl } from '../../support/redis.js';
import { freePort } from '../../support/servers/ports.js';
import { useStorage } from '../../support/storage.js';
import { waitFor } from '../../support/wait.js';
import { holdHeads, insertAdapters, proxyTo, SLACK_MS, waitingSessions } from './support.js';

interface Closed {
  ms: number;
  late: string;
  outcomes: string[];
  left: string[];
}

const bench = useStorage();

/** A process, and everything it connects to behind a proxy of its own. */
async function scene(onTestFinished: (end: () => Promise<void>) => void) {
  const { postgresUrl: url, namespace } = bench;
  const [postgres, ear, redis] = await Promise.all([proxyTo(url), proxyTo(url), proxyTo(redisUrl())]);
  const child = await startChild(new URL('./closing.mjs', import.meta.url));
  onTestFinished(async () => {
    await child.kill();
    await Promise.all([postgres, ear, redis].map((proxy) => proxy.close()));
  });
  const budgets = { maxStalenessMs: 1000, redisTimeoutMs: 300, postgresTimeoutMs: 1500 };
  const sources = { postgres: { primary: postgres.url(url), direct: ear.url(url) }, redis: redis.url(redisUrl()) };
  return { child, postgres, ear, redis, options: { ...sources, ...budgets, namespace } };
}
type Scene = Awaited<ReturnType<typeof scene>>;

/** A call that waits for an answer, then goodbyes, which are shorter. */
const boundOf = (postgresTimeoutMs: number) => postgresTimeoutMs + 2000 + 2 * SLACK_MS;

/** Nothing keeps the process once its parent is all it has. */
async function expectEnd(child: Child): Promise<void> {
  await child.call('leave').catch(() => undefined);
  let code: number | null | undefined;
  void child.ended.then((ended) => {
    code = ended;
  });
  await waitFor(() => code !== undefined, { what: 'the process to end by itself' });
  expect(code).toBe(0);
}

async function expectClosed(child: Child, { late, outcomes, left }: Closed): Promise<void> {
  expect(left).toEqual([]);
  expect(late).toBe('STORAGE_CLOSED');
  expect(outcomes.filter((outcome) => outcome === 'under way')).toEqual([]);
  await expectEnd(child);
}

const isLive = async (child: Child) => {
  const { bus, changeFeed } = await child.call<Record<string, string>>('health');
  return bus === 'live' && changeFeed === 'live';
};

test('calls in flight are finished', async ({ onTestFinished }) => {
  const users = await insertAdapters(bench, 3);
  const { child, options } = await scene(onTestFinished);
  await child.call('open', { ...options, postgresTimeoutMs: 20_000, maxStalenessMs: 20_000 });
  const heads = await holdHeads(bench.postgresUrl);
  await child.call('begin', users);
  await waitFor(async () => (await waitingSessions(bench)) > 5);
  const closing = child.call<Closed>('close', users[0]);
  // Answered after close() was called: its calls go on waiting.
  await child.call('');
  expect(await waitingSessions(bench)).toBeGreaterThan(5);
  await heads.release();
  const closed = await closing;
  expect(closed.outcomes).toEqual(Array(18).fill('done'));
  await expectClosed(child, closed);
});

test('a storm of 2,400 calls is finished', async ({ onTestFinished }) => {
  const users = await insertAdapters(bench, 400);
  const { child, options } = await scene(onTestFinished);
  await child.call('open', { ...options, postgresTimeoutMs: 30_000, maxStalenessMs: 30_000 });
  await child.call('begin', users);
  const closed = await child.call<Closed>('close', users[0]);
  expect(closed.outcomes).toEqual(Array(2400).fill('done'));
  await expectClosed(child, closed);
});

/** What is done to a node that is open, and what to wait for before it is closed. */
const faults: [string, (scene: Scene) => unknown, ((node: Record<string, string>) => boolean)?][] = [
  ['Postgres mute', ({ postgres }) => postgres.mute()],
  ['Postgres cut', ({ postgres }) => postgres.cut()],
  ['Redis mute', ({ redis }) => redis.mute()],
  ['Redis cut, and its clients reconnecting', ({ redis }) => redis.cut(), ({ bus }) => bus === 'down'],
  ['the ear cut and reconnecting', ({ ear }) => ear.cut(), ({ changeFeed }) => changeFeed === 'down'],
  ['the ear mute, and its successor too', ({ ear }) => ear.mute(), ({ changeFeed }) => changeFeed === 'down'],
  ['everything mute', ({ postgres, ear, redis }) => [postgres, ear, redis].map((proxy) => proxy.mute())],
  ['everything cut', ({ postgres, ear, redis }) => [postgres, ear, redis].map((proxy) => proxy.cut())],
];

// What a Pool of the caller's does when Postgres is away is his to settle.
for (const [open, those] of Object.entries({ open: faults, openOverClients: faults.slice(2, 6) })) {
  test.concurrent.for(those)(
    `%s: every call ends in its time, and nothing is left: ${open}`,
    async (fault, context) => {
      const [, strike, until] = fault;
      const users = await insertAdapters(bench, 3);
      const at = await scene(context.onTestFinished);
      const { child, options } = at;
      await child.call(open, options);
      await waitFor(() => isLive(child), { timeoutMs: 30_000 });
      strike(at);
      if (until !== undefined) await waitFor(async () => until(await child.call('health')));
      await child.call('begin', users);
      const closed = await child.call<Closed>('close', users[0]);
      await expectClosed(child, closed);
      expect(closed.ms).toBeLessThan(boundOf(options.postgresTimeoutMs));
    },
  );
}

/** What open() is given, and what it says. `empty`: a database without the schema. */
const refusals: [string, (scene: Scene, empty: string) => unknown, string | RegExp][] = [
  [
    'Redis is down and the schema missing',
    async (_, empty) => ({ postgres: empty, redis: `redis://127.0.0.1:${await freePort()}` }),
    'SCHEMA_OUT_OF_DATE',
  ],
  ['Postgres refuses', async () => ({ postgres: `postgres://127.0.0.1:${await freePort()}/x` }), 'STORAGE_UNAVAILABLE'],
  ['Postgres is mute', ({ postgres }) => postgres.mute(), 'STORAGE_UNAVAILABLE'],
  [
    'the ear listens to another database',
    (_, empty) => ({ postgres: { primary: bench.postgresUrl, direct: empty } }),
    /direct leads to another database/,
  ],
  [
    'the ear listens to another database, and Redis is mute',
    ({ redis }, empty) => {
      redis.mute();
      return { postgres: { primary: bench.postgresUrl, direct: empty } };
    },
    /direct leads to another database/,
  ],
  ['the Redis URL cannot be read', () => ({ redis: 'redis://x:%zz@h' }), /option redis cannot be/],
];

describe('open() is refused half-way, and nothing is left open:', () => {
  let empty: TestDatabase;
  beforeAll(async () => {
    empty = await createDatabase({ template: 'empty' });
  });
  afterAll(() => empty?.drop());

  test.concurrent.for(refusals)('%s', async ([, change, outcome], { onTestFinished }) => {
    const at = await scene(onTestFinished);
    const options = { ...at.options, ...((await change(at, empty.url)) ?? {}) };
    // Only where it is mute does it have to run out.
    if (outcome !== 'STORAGE_UNAVAILABLE') options.postgresTimeoutMs = 20_000;
    const refused = await at.child.call<{ ms: number; outcome: string; left: string[] }>('refused', options);
    expect(refused.outcome).toMatch(outcome);
    expect(refused.left).toEqual([]);
    expect(refused.ms).toBeLessThan(boundOf(options.postgresTimeoutMs));
    await expectEnd(at.child);
  });
});

test('open() that found neither ear nor Redis, and goes on trying for them: nothing is left after close()', async (context) => {
  const { child, ear, redis, options } = await scene(context.onTestFinished);
  ear.cut();
  redis.cut();
  await child.call('open', options);
  expect(await child.call('health')).toMatchObject({ postgres: 'up', redis: 'down', bus: 'down', changeFeed: 'down' });
  await expectClosed(child, await child.call<Closed>('close', '0'.repeat(8)));
});
