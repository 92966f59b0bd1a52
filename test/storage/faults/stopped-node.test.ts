/**
 * Nodes that are stopped (SIGSTOP) for longer than maxStalenessMs while another saves, and continued. No timer of theirs
 * has run meanwhile and no word has come: the clock alone tells their first load not to trust what they hold.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { LoRAStorage } from '../../../src/storage/lora-storage.js';
import { type Child, startChild } from '../../support/processes.js';
import { redisUrl } from '../../support/redis.js';
import { smallAdapter, useStorage } from '../../support/storage.js';
import { waitFor } from '../../support/wait.js';
import { breakOff, type Lines, linesTo } from './far-node.js';

const MAX_STALENESS_MS = 1000;

/** With bus and change feed, with the change feed alone, and with the bus alone. */
const ways = [{}, { redis: false }, { changeFeed: false }];
const ofEach = <T>(value: T): T[] => ways.map(() => value);

interface Answer {
  readonly version: number;
  readonly tier: string;
}

const bench = useStorage();
const ps = promisify(execFile);
let writer: LoRAStorage;
let lines: Lines;
let child: Child;

beforeAll(async () => {
  [writer, lines, child] = await Promise.all([
    bench.open(),
    linesTo(bench.postgresUrl, redisUrl()),
    startChild(new URL('./stopped-node.mjs', import.meta.url)),
  ]);
  const options = {
    redis: lines.bus.url(redisUrl()),
    namespace: bench.namespace,
    maxStalenessMs: MAX_STALENESS_MS,
    redisTimeoutMs: 500,
  };
  await child.call(
    'open',
    { primary: bench.postgresUrl, direct: lines.ear.url(bench.postgresUrl) },
    ways.map((way) => ({ ...options, ...way })),
  );
});
afterEach(() => {
  for (const line of [lines.ear, lines.bus]) breakOff(line);
});
afterAll(async () => {
  await child?.kill();
  await Promise.all(Object.values(lines ?? {}).map((line) => line.close()));
});

async function savedUser(): Promise<string> {
  const userId = await bench.user();
  await writer.saveAdapter(smallAdapter(userId));
  return userId;
}

/** Has version 1 in the memory of each node, which would serve it now. */
async function trustedUser(): Promise<string> {
  const userId = await savedUser();
  await waitFor(async () => (await child.call<Answer[]>('load', userId)).every(({ tier }) => tier === 'memory'));
  return userId;
}

/** While the child stands still: saves, takes every line from it, and continues it when all that it holds is too old. */
async function saveMeanwhile(userId: string): Promise<void> {
  const standsStill = async () => (await ps('ps', ['-o', 'stat=', '-p', String(child.pid)])).stdout.startsWith('T');
  await waitFor(standsStill);
  const since = performance.now();
  for (const line of [lines.ear, lines.bus]) line.mute('answers');
  await writer.saveAdapter(smallAdapter(userId, 2));
  await waitFor(() => performance.now() - since > MAX_STALENESS_MS);
  child.signal('SIGCONT');
}

test.each([
  ['with a load as the first thing it does afterwards', 'stopThenLoad', trustedUser],
  ['with a load under way, which nobody joins who asks afterwards', 'stopInLoad', savedUser],
])('stopped %s: it answers what is the latest now', async (_, how, user) => {
  await trustedUser();
  const userId = await user();
  const stopped = child.call<{ stoppedMs: number; first: Answer[] }>(how, userId);
  await saveMeanwhile(userId);
  const { stoppedMs, first } = await stopped;
  expect(stoppedMs).toBeGreaterThan(MAX_STALENESS_MS);
  expect(first.map(({ version }) => version)).toEqual(ofEach(2));
});

test('stopped while it did nothing: what it was asked meanwhile it answers with what is the latest now', async () => {
  const userId = await trustedUser();
  child.signal('SIGSTOP');
  const loaded = child.call<Answer[]>('load', userId);
  await saveMeanwhile(userId);
  expect((await loaded).map(({ version }) => version)).toEqual(ofEach(2));
});

test('stopped while it was asked how it is: its ear is not live', async () => {
  const userId = await trustedUser();
  const asked = child.call<{ stoppedMs: number; changeFeed: string }>('stopInHealth');
  await saveMeanwhile(userId);
  const { stoppedMs, changeFeed } = await asked;
  expect(stoppedMs).toBeGreaterThan(MAX_STALENESS_MS);
  expect(changeFeed).toBe('down');
});
