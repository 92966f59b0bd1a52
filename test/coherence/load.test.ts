/** Steps of a load that no model of the walk has: whose body an answer of a standby is about. */
import { randomUUID } from 'node:crypto';
import { beforeEach, expect, test } from 'vitest';
import { encodeRecord } from '../../src/adapter/codec.js';
import { Coherence, nothingKnown } from '../../src/coherence/head.js';
import { keyOf } from '../../src/coherence/key.js';
import { LoadSteps } from '../../src/coherence/load.js';
import { type Entry, entryOf, restamped } from '../../src/tiers/entry.js';
import { MemoryTier } from '../../src/tiers/memory.js';
import { decodeEntry, encodeEntry, HEADER_BYTES } from '../../src/tiers/redis-entry.js';
import { smallAdapter } from '../support/storage.js';

const NOW = 1000;
const [OURS, FOREIGN, MARK] = [7, 8, 5];
const key = keyOf(randomUUID(), 'default');
let coherence: Coherence;
let memory: MemoryTier;
let steps: LoadSteps<Entry, Buffer>;

beforeEach(() => {
  const horizon = { server: OURS, xid: 100, mark: MARK };
  coherence = new Coherence({ maxStalenessMs: NOW, changeFeed: true }, { ...nothingKnown(), horizon, provenAt: NOW });
  memory = new MemoryTier(1e6);
  steps = new LoadSteps(key, coherence, memory, { redis: true, maxStalenessMs: NOW, staleIfErrorMs: 0 });
});

const reading = (server: number, era = 0) => ({ revision: 9, version: 1, server, xid: 50, verifiedAt: NOW, era });
const record = encodeRecord(smallAdapter(key.userId));

test('a body of memory that a standby confirms is not taken for the rounded one of the same revision in Redis', () => {
  const exact = entryOf(reading(OURS), record, 1);
  const stored = encodeEntry(key, exact, 'f16');
  steps.begin(NOW);
  // 1. While Redis is asked, a save or another load puts the exact body into memory.
  memory.put(key, exact);
  const asking = steps.redisAnswered({ entry: decodeEntry(key, stored), seen: stored.subarray(0, HEADER_BYTES) }, NOW);
  // 2. The standby confirms what is held, and then the primary.
  const held = asking.do === 'ask postgres' ? asking.held : undefined;
  expect(held?.record?.rounded).toBeFalsy();
  const shown = restamped(held as Entry, reading(OURS, coherence.eraShown(OURS, MARK)));
  expect(steps.replicaAnswered(shown, NOW).do).toBe('serve');
  const settling = steps.settle(shown, NOW);
  const confirmed = steps.postgresAnswered(restamped(settling?.held as Entry, reading(OURS, coherence.era)), NOW);
  // 3. Only the whole of it may go where the rounded one lies: its header would not fit that body.
  expect(confirmed.leave?.how).toBe('fill');
});

test.each([
  ['of the primary, as one that is behind, is kept to be confirmed', OURS, true],
  ['of another server is not: the same number may stand for another body there', FOREIGN, false],
])('a body that does not count %s', (_, server, kept) => {
  steps.begin(NOW);
  steps.redisAnswered({ entry: undefined, seen: undefined }, NOW);
  steps.claimed(undefined, NOW);
  const shown = entryOf({ ...reading(server), xid: 0, verifiedAt: Number.NEGATIVE_INFINITY }, record, 1);
  const next = steps.replicaAnswered(shown, NOW);
  expect([next.do, next.do === 'ask postgres' && next.held === shown]).toEqual(['ask postgres', kept]);
});
