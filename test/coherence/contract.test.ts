/**
 * What the walk assumes of Redis, Postgres and memory, held to the real ones: the same sequence is run against the model
 * and against the tier, and after each step both must hold the same.
 */
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Key, keyOf } from '../../src/coherence/key.js';
import { Database } from '../../src/postgres/database.js';
import type { Entry } from '../../src/tiers/entry.js';
import { MemoryTier } from '../../src/tiers/memory.js';
import { PostgresTier } from '../../src/tiers/postgres.js';
import { RedisTier } from '../../src/tiers/redis.js';
import { connectRedis, type RedisConnections } from '../../src/tiers/redis-client.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { endPool } from '../support/pools.js';
import { redisNamespace, redisUrl } from '../support/redis.js';
import { waitFor } from '../support/wait.js';
import { entryOf, newKey, recordOf } from '../tiers/support.js';
import { OneSlot } from './walk/node.js';
import { begin, commit, FIRST, type Operation, type Postgres, xmax, xmin } from './walk/postgres-model.js';
import { scripts, type Value } from './walk/redis-model.js';
import type { Body } from './walk/world.js';

const quiet = { degraded: () => undefined, recovered: () => undefined };
const ASKED = { verifiedAt: 1, era: 1 };

describe('Redis', () => {
  let connections: RedisConnections;
  let tier: RedisTier;

  beforeAll(async () => {
    connections = await connectRedis(redisUrl(), 5000);
    const options = { namespace: redisNamespace(), timeoutMs: 5000, ttlMs: 100_000 };
    tier = new RedisTier(connections.client, options, { ...quiet, corrupt: () => undefined });
  });
  afterAll(() => connections?.close());

  const flush = (key: Key) => connections.client.del(tier.redisKey(key));

  /** look: what a reader saw, over which alone its fill may go. */
  type Call = 'look' | 'claim' | `${'fill' | 'restamp' | 'write' | 'clear'} ${number}` | 'flush';

  const calls: Call[] = [
    'look',
    'claim',
    'fill 1',
    'fill 2',
    'restamp 1',
    'write 1',
    'write 2',
    'clear 1',
    'clear 2',
    'flush',
  ];
  /** The head start that makes the rest interesting, then every two calls, then a fill and a look. */
  const starts: Call[][] = [[], ['claim', 'look'], ['write 1', 'look'], ['write 2', 'look']];
  const sequences = starts.flatMap((start) =>
    calls.flatMap((one) => calls.map((two): Call[] => [...start, one, two, 'fill 1', 'look', 'restamp 2'])),
  );

  async function run(sequence: readonly Call[]): Promise<void> {
    const key = newKey();
    let model: Value | undefined;
    let seenByModel = 'nothing was seen';
    let seen: Buffer = Buffer.from('nothing was seen');
    for (const [i, call] of sequence.entries()) {
      const [name, revision] = call.split(' ') as [string, string | undefined];
      const entry = entryOf(key, Number(revision ?? 0));
      if (name === 'look') {
        seen = (await tier.read(key)).seen ?? seen;
        seenByModel = model?.seen ?? seenByModel;
      } else if (name === 'claim') {
        const token = await tier.claim(key);
        expect(token === 'taken').toBe(model !== undefined);
        model = scripts.claim(model, i);
      } else if (name === 'fill') {
        await tier.fill(key, seen, entry);
        model = scripts.fill(model, seenByModel, entry);
      } else if (name === 'restamp') {
        // The product restamps the revision it saw, and no other.
        if (model?.entry !== undefined && model.entry.revision !== entry.revision) continue;
        if (model?.entry === undefined && model?.seen === seenByModel) continue;
        const restamped = { ...entry, xid: 9000 + i };
        await tier.restamp(key, seen, restamped);
        model = scripts.restamp(model, seenByModel, restamped);
      } else if (name === 'write') {
        expect(await tier.write(key, entry)).toBe(true);
        model = scripts.write(model, entry);
      } else if (name === 'clear') {
        expect(await tier.clear(key, entry.revision)).toBe(true);
        model = scripts.clear(model, entry.revision);
      } else {
        await flush(key);
        model = undefined;
      }
      const held = await tier.read(key);
      const real = { stands: held.seen !== undefined, revision: held.entry?.revision, xid: held.entry?.xid };
      const expected = { stands: model !== undefined, revision: model?.entry?.revision, xid: model?.entry?.xid };
      expect(real, `after ${sequence.slice(0, i + 1).join(', ')}`).toEqual(expected);
    }
  }

  test(`holds what the model holds after every one of ${sequences.length} sequences`, async () => {
    // Not all at once: a fill token lives for 3 s, and a machine may be busy.
    for (let i = 0; i < sequences.length; i += 40) await Promise.all(sequences.slice(i, i + 40).map(run));
    expect(tier.errors).toBe(0);
    expect(tier.corrupt).toBe(0);
  });
});

describe('Postgres', () => {
  let database: TestDatabase;
  let pool: pg.Pool;
  let own: Database;
  let tier: PostgresTier;

  beforeAll(async () => {
    database = await createDatabase();
    pool = new pg.Pool({ connectionString: database.url, max: 6 });
    own = new Database(database.url, { timeoutMs: 10_000, maxQueue: 100 });
    tier = new PostgresTier(own, { createMissingUsers: false }, quiet);
  });
  afterAll(async () => {
    await own?.close();
    await endPool(pool);
    await database?.drop();
  });

  async function newUser(): Promise<Key> {
    const userId = randomUUID();
    await pool.query('insert into users (id) values ($1)', [userId]);
    return keyOf(userId, 'default');
  }

  async function perform(key: Key, operation: Operation, pg: Postgres): Promise<void> {
    if (operation === 'save') await tier.save(key, recordOf(key), undefined, ASKED);
    else if (operation === 'delete') await tier.delete(key);
    else if (operation === 'delete version') await tier.delete(key, pg.version);
    else if (operation === 'delete old version') await tier.delete(key, pg.versions[0]);
    else if (operation === 'rollback') await tier.rollback(key, pg.versions[0] ?? 1).catch(() => undefined);
    else await pool.query('delete from lora_adapters where user_id = $1', [key.userId]);
  }

  const operations: Operation[] = ['save', 'delete', 'delete version', 'rollback', 'prune'];
  const old: Operation = 'delete old version';
  const sequences = [
    ...operations.flatMap((one) => operations.flatMap((two) => operations.map((three) => [one, two, three]))),
    ...operations.map((then): Operation[] => ['save', old, then]),
  ];

  test(`gives the head that the model gives, and tells of each commit in order, in ${sequences.length} sequences`, async () => {
    const ear = new pg.Client({ connectionString: database.url });
    const told: string[] = [];
    ear.on('notification', ({ payload = '' }) => told.push(payload));
    await ear.connect();
    await ear.query('listen lora_store_heads');
    for (const sequence of sequences) {
      const key = await newUser();
      await tier.save(key, recordOf(key), undefined, ASKED);
      let model = FIRST;
      let head = await tier.load(key, undefined, ASKED);
      const revisions = [head.revision];
      for (const operation of sequence) {
        await perform(key, operation, model);
        const before = model;
        model = commit(begin(model), model.nextXid, operation);
        const after = await tier.load(key, undefined, ASKED);
        expect(after.version, sequence.join(', ')).toBe(model.version);
        expect(after.revision > head.revision, sequence.join(', ')).toBe(model.revision > before.revision);
        expect(after.revision).toBeGreaterThanOrEqual(head.revision);
        if (after.revision > head.revision) revisions.push(after.revision);
        head = after;
      }
      const heard = () => told.map((text) => JSON.parse(text)).filter(({ u }) => u === key.userId);
      await waitFor(() => heard().length >= revisions.length);
      expect(heard().map(({ r }) => r)).toEqual(revisions);
    }
    await ear.end();
  });

  test('snapshots show of transaction ids what the model shows, and a save is stamped with its own', async () => {
    const key = await newUser();
    const ids = async () => {
      const { rows } = await pool.query<{ xmin: string; xmax: string }>(
        'select pg_snapshot_xmin(s)::text as xmin, pg_snapshot_xmax(s)::text as xmax from pg_current_snapshot() s',
      );
      return { xmin: Number(rows[0]?.xmin), xmax: Number(rows[0]?.xmax) };
    };
    const slow = await pool.connect();
    await slow.query('begin');
    const { rows } = await slow.query<{ xid: string }>('select pg_current_xact_id()::text as xid');
    const xid = Number(rows[0]?.xid);
    const saved = await tier.save(key, recordOf(key), undefined, ASKED);
    // One under way, and one begun later that has ended; other test files may have ended some more.
    let model: Postgres = begin({ ...FIRST, active: [], nextXid: xid, lastDone: xid - 1 });
    model = commit(begin({ ...model, nextXid: saved.xid }), saved.xid, 'save');
    expect(saved.xid).toBeGreaterThan(xid);
    const during = await ids();
    expect(during.xmin).toBeLessThanOrEqual(xmin(model));
    expect(during.xmax).toBeGreaterThanOrEqual(xmax(model));
    const loaded = await tier.load(key, undefined, ASKED);
    expect(loaded.xid).toBeLessThanOrEqual(xid);
    await slow.query('commit');
    slow.release();
    await waitFor(async () => (await ids()).xmin > saved.xid);
    expect((await tier.load(key, undefined, ASKED)).xid).toBeGreaterThanOrEqual(xmax(model));
  });
});

describe('memory', () => {
  type Call = 'put' | 'drop' | 'unverify';

  test('holds what one slot holds, after every three calls', () => {
    const entries = [1, 2].flatMap((revision) => [1, 2].map((at) => ({ revision, verifiedAt: at })));
    const calls = [
      ...entries.map((entry) => ({ call: 'put' as Call, ...entry })),
      { call: 'drop' as Call, revision: 2, verifiedAt: 0 },
      { call: 'unverify' as Call, revision: 0, verifiedAt: 0 },
    ];
    for (const sequence of calls.flatMap((a) => calls.flatMap((b) => calls.map((c) => [a, b, c])))) {
      const key = newKey();
      const memory = new MemoryTier(10_000);
      const node: { memory: Body | undefined } = { memory: undefined };
      const slot = new OneSlot(node);
      for (const { call, revision, verifiedAt } of sequence) {
        const entry: Entry = entryOf(key, revision, { verifiedAt });
        if (call === 'put') slot.put(key, entry);
        if (call === 'put') memory.put(key, entry);
        if (call === 'drop') slot.dropBelow(key, revision);
        if (call === 'drop') memory.dropBelow(key, revision);
        if (call === 'unverify') slot.unverify();
        if (call === 'unverify') memory.unverify(key);
        expect(memory.get(key.userId, key.adapterName)).toEqual(slot.get());
      }
    }
  });
});
