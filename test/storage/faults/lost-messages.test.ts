/**
 * Messages that never arrive: whichever line of a node is cut, or is half open and hears nothing, it serves nothing that
 * was replaced longer ago than maxStalenessMs, finds out by itself, and trusts nothing from before when it is whole again.
 *
 * The bound needs no slack: what a cache answers was verified before the change, or the ear was proven before it, and
 * both are looked at again after the load began.
 */
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { LoRAStorageOptions } from '../../../src/options.js';
import type { LoRAStorage } from '../../../src/storage/lora-storage.js';
import { redisUrl } from '../../support/redis.js';
import { smallAdapter, useStorage } from '../../support/storage.js';
import { waitFor } from '../../support/wait.js';
import { breakOff, type FarNode, type Lines, linesTo, openFar } from './far-node.js';
import { earIs, SLACK_MS, staleFor, versionAt } from './support.js';

const MAX_STALENESS_MS = 400;

const bench = useStorage();
let writer: LoRAStorage;
let open: FarNode[] = [];

beforeAll(async () => {
  writer = await bench.open();
});
afterEach(async () => {
  await Promise.all(open.map((far) => far.close()));
  open = [];
});

async function far(options: LoRAStorageOptions, lines?: Lines): Promise<FarNode> {
  const made = await openFar(bench, redisUrl(), { maxStalenessMs: MAX_STALENESS_MS, ...options }, lines);
  open.push(made);
  return made;
}

async function savedUser(): Promise<string> {
  const userId = await bench.user();
  await writer.saveAdapter(smallAdapter(userId));
  return userId;
}

/** Memory has it, and would serve it now. */
async function trusts(node: LoRAStorage, userId: string): Promise<void> {
  await waitFor(async () => (await node.loadAdapterInfo(userId)).tier === 'memory');
}

function busIs(node: LoRAStorage, live: boolean): Promise<boolean> {
  return waitFor(() => node.cacheStats().bus.connected === live, { what: `a bus that is ${live ? 'live' : 'down'}` });
}

const both: LoRAStorageOptions = {};
const busAlone: LoRAStorageOptions = { changeFeed: false };
const feedAlone: LoRAStorageOptions = { redis: false };

interface Fault {
  readonly at: readonly (keyof Lines)[];
  readonly how: 'cut' | 'mute';
}

const broken = (...at: (keyof Lines)[]) => [
  [`${at.join(' and ')} cut`, { at, how: 'cut' }] as const,
  [`${at.join(' and ')} half open`, { at, how: 'mute' }] as const,
];

describe.each([
  [
    'bus and change feed',
    both,
    [...broken('bus'), ...broken('ear'), ...broken('ear', 'bus'), ...broken('bus', 'commands')],
  ],
  ['the bus alone, change feed off', busAlone, [...broken('bus'), ...broken('bus', 'commands')]],
  ['the change feed alone, Redis off', feedAlone, broken('ear')],
] as const)('with %s', (_, options, faults) => {
  test.each<readonly [string, Fault]>(faults)('%s', async (_, { at, how }) => {
    const { node, lines } = await far(options);
    const [userId, unchanged] = [await savedUser(), await savedUser()];
    const users = [unchanged, userId];
    const found = new Map<string, number>();
    node.on('degraded', ({ tier }) => found.set(tier, performance.now()));
    await waitFor(async () => {
      for (const user of users) await trusts(node, user);
      const { connected } = node.cacheStats().bus;
      return users.every((user) => node.peekAdapter(user)) && connected === (options.redis !== false);
    });
    found.clear();

    const brokenAt = performance.now();
    // What it sends goes on arriving: only an answer of its own can tell it that it hears nothing.
    for (const line of at) how === 'cut' ? lines[line].cut() : lines[line].mute('answers');
    await writer.saveAdapter(smallAdapter(userId, 2));
    expect(await staleFor(node, userId, 2)).toBeLessThan(MAX_STALENESS_MS);

    for (const line of at) {
      if (line === 'commands') continue;
      const foundAt = await waitFor(() => found.get(line === 'ear' ? 'change-feed' : line), { what: `${line}: found` });
      expect(foundAt - brokenAt).toBeLessThan(MAX_STALENESS_MS + SLACK_MS);
    }

    await writer.saveAdapter(smallAdapter(userId, 3));
    // Attempts that have fallen into the silence stay there.
    for (const line of at) breakOff(lines[line]);
    if (options.redis !== false) await busIs(node, true);
    if (!at.includes('ear')) {
      expect(await staleFor(node, userId, 3)).toBeLessThan(MAX_STALENESS_MS);
      return;
    }
    await earIs(node, 'live');
    for (const user of users) expect(node.peekAdapter(user)).toBeUndefined();
    expect(await versionAt(node, userId)).toBe(3);
    expect(await node.loadAdapterInfo(unchanged)).toMatchObject({ version: 1, tier: 'memory', stale: false });
  });
});

describe('a subscription that is acknowledged late', () => {
  test.each([
    ['bus and change feed', both],
    ['the bus alone, change feed off', busAlone],
  ])('to the bus, with %s', async (_, options) => {
    const lines = await linesTo(bench.postgresUrl, redisUrl());
    lines.bus.delay(500);
    const { node } = await far({ ...options, redisTimeoutMs: 50 }, lines);
    expect(node.cacheStats().bus.connected).toBe(false);
    const userId = await savedUser();
    await trusts(node, userId);
    await writer.saveAdapter(smallAdapter(userId, 2));
    expect(await staleFor(node, userId, 2)).toBeLessThan(MAX_STALENESS_MS);
    lines.bus.delay(0);
    await busIs(node, true);
    await writer.saveAdapter(smallAdapter(userId, 3));
    expect(await staleFor(node, userId, 3)).toBeLessThan(MAX_STALENESS_MS);
  });

  test.each([
    ['bus and change feed', both],
    ['the change feed alone, Redis off', feedAlone],
  ])('to the change feed, with %s', async (_, options) => {
    const { node, lines } = await far(options);
    const [loaded, untouched] = [await savedUser(), await savedUser()];
    for (const user of [loaded, untouched]) await trusts(node, user);
    lines.ear.cut();
    await earIs(node, 'down');
    lines.ear.heal();
    lines.ear.delay(300);
    // 1. Postgres has the LISTEN, and its answer is on the way. Both adapters change.
    await waitFor(
      async () =>
        (
          await bench.sql(
            `select from pg_stat_activity where datname = current_database() and query like 'listen lora_store_heads%'`,
          )
        ).length === 1,
      { what: 'a LISTEN on its way' },
    );
    for (const user of [loaded, untouched]) await writer.saveAdapter(smallAdapter(user, 2));
    // 2. It does not trust what it held,
    expect(await versionAt(node, loaded)).toBe(2);
    lines.ear.delay(0);
    await earIs(node, 'live');
    // 3. nor does it when the answer is there.
    for (const user of [loaded, untouched]) expect(await versionAt(node, user)).toBe(2);
  });
});
