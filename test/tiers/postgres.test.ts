/** The Postgres tier on a real Postgres: each statement, on either wire format, and the races of savers. */
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Key, keyOf } from '../../src/coherence/key.js';
import { AdapterCorruptError, type VersionConflictError } from '../../src/errors.js';
import { Database } from '../../src/postgres/database.js';
import { SERVER_ID } from '../../src/postgres/server-id.js';
import { PostgresTier } from '../../src/tiers/postgres.js';
import * as sql from '../../src/tiers/statements.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { endPool } from '../support/pools.js';
import { gist, recordOf } from './support.js';

const LIMITS = { timeoutMs: 10_000, maxQueue: 1000 };
const ASKED = { verifiedAt: 5, era: 1 };
const quiet = { degraded: () => undefined, recovered: () => undefined };

let database: TestDatabase;
let pool: pg.Pool;
let databases: Database[];
let tiers: Record<'binary' | 'hex', PostgresTier>;
let creating: PostgresTier;

beforeAll(async () => {
  database = await createDatabase();
  pool = new pg.Pool({ connectionString: database.url, max: 10 });
  databases = [new Database(database.url, LIMITS), new Database(pool, LIMITS)];
  const [own, callers] = databases as [Database, Database];
  tiers = {
    binary: new PostgresTier(own, { createMissingUsers: false }, quiet),
    hex: new PostgresTier(callers, { createMissingUsers: false }, quiet),
  };
  creating = new PostgresTier(own, { createMissingUsers: true }, quiet);
});
afterAll(async () => {
  await Promise.all((databases ?? []).map((each) => each.close()));
  await endPool(pool);
  await database?.drop();
});

async function newUser(): Promise<Key> {
  const userId = randomUUID();
  await pool.query('insert into users (id) values ($1)', [userId]);
  return keyOf(userId, 'default');
}

const named = (key: Key, name: string) => keyOf(key.userId, name);
const foreign = (key: Key, version: number, weights: Buffer) =>
  pool.query(
    `insert into lora_adapters (user_id, adapter_name, version, weights, size_bytes) values ($1, $2, $3, $4, $5)`,
    [key.userId, key.adapterName, version, weights, weights.length],
  );
const versionsOf = async (key: Key) =>
  (
    await pool.query('select version from lora_adapters where user_id = $1 and adapter_name = $2 order by 1', [
      key.userId,
      key.adapterName,
    ])
  ).rows.map(({ version }) => version);

/** A fresh transaction id and the server's number, for comparison. */
async function now(): Promise<{ xid: number; server: number }> {
  const { rows } = await pool.query(
    `select pg_snapshot_xmax(pg_current_snapshot())::text as xid,
       ${SERVER_ID}::text as server`,
  );
  return { xid: Number(rows[0].xid), server: Number(rows[0].server) };
}

describe.each(['binary', 'hex'] as const)('loads: %s', (path) => {
  test('what was saved, with its stamp; then, holding it, only a new stamp and no body', async () => {
    const tier = tiers[path];
    const key = await newUser();
    const before = await now();
    const saved = await tier.save(key, recordOf(key, 1, 512), undefined, ASKED);
    expect(saved).toMatchObject({ version: 1, server: before.server, ...ASKED });
    expect(saved.xid).toBeGreaterThanOrEqual(before.xid);
    const { loads } = tier;
    const loaded = await tier.load(key, undefined, { verifiedAt: 7, era: 2 });
    expect(gist(loaded)).toEqual(gist(saved));
    expect(loaded).toMatchObject({ updatedAt: saved.updatedAt, server: before.server, verifiedAt: 7, era: 2 });
    expect(loaded.xid).toBeGreaterThan(0);
    expect(tier.loads).toBe(loads + 1);
    const verified = await tier.load(key, loaded, { verifiedAt: 9, era: 3 });
    expect(verified.record).toBe(loaded.record);
    expect(verified).toMatchObject({ verifiedAt: 9, era: 3, revision: loaded.revision });
    expect(tier.loads).toBe(loads + 1);
  });

  test('nothing: revision 0 where nothing ever was, a later one where all was deleted', async () => {
    const tier = tiers[path];
    const key = await newUser();
    const never = await tier.load(key, undefined, ASKED);
    expect(never).toMatchObject({ version: 0, revision: 0, record: undefined });
    expect(await tier.load(key, never, { verifiedAt: 6, era: 1 })).toMatchObject({ revision: 0, verifiedAt: 6 });
    const { revision } = await tier.save(key, recordOf(key), undefined, ASKED);
    await tier.delete(key);
    const gone = await tier.load(key, undefined, ASKED);
    expect(gone).toMatchObject({ version: 0, record: undefined });
    expect(gone.revision).toBeGreaterThan(revision);
    expect(await tier.load(keyOf(randomUUID(), 'x'), undefined, ASKED)).toMatchObject({ revision: 0 });
  });

  test('many at once: found, absent, held and corrupt, each in its place', async () => {
    const tier = tiers[path];
    const [a, b, c, d] = [await newUser(), await newUser(), await newUser(), await newUser()];
    const held = await tier.save(a, recordOf(a, 1, 600), undefined, ASKED);
    const old = await tier.save(b, recordOf(b, 1), undefined, ASKED);
    const fresh = await tier.save(b, recordOf(b, 2, 700), undefined, ASKED);
    await foreign(c, 1, Buffer.from('no adapter'));
    const { loads } = tier;
    const answers = await tier.loadMany([a, b, c, d], [held, old, undefined, undefined], { verifiedAt: 8, era: 1 });
    expect(answers[0]).toMatchObject({ revision: held.revision, verifiedAt: 8 });
    expect((answers[0] as typeof held).record).toBe(held.record);
    expect(gist(answers[1] as typeof fresh)).toEqual(gist(fresh));
    expect(answers[2]).toBeInstanceOf(AdapterCorruptError);
    expect(answers[3]).toMatchObject({ version: 0, revision: 0 });
    expect(tier.loads).toBe(loads + 1);
    expect(await tier.loadMany([], [], ASKED)).toEqual([]);
  });

  test('bytes of another user are refused, with whose they were asked for as', async () => {
    const tier = tiers[path];
    const [key, stranger] = [await newUser(), await newUser()];
    await foreign(key, 1, recordOf(stranger).bytes);
    const failing = tier.load(key, undefined, ASKED);
    await expect(failing).rejects.toMatchObject({ code: 'ADAPTER_CORRUPT', offset: 8 });
    await expect(tier.loadVersion(key, 1)).rejects.toMatchObject({ code: 'ADAPTER_CORRUPT' });
    await expect(failing).rejects.toThrow(key.userId);
  });

  test('a version, latest or not; undefined where there is none', async () => {
    const tier = tiers[path];
    const key = await newUser();
    for (const seed of [1, 2]) await tier.save(key, recordOf(key, seed), undefined, ASKED);
    expect((await tier.loadVersion(key, 1))?.record.bytes.equals(recordOf(key, 1).bytes)).toBe(true);
    expect((await tier.loadVersion(key, 2))?.record.bytes.equals(recordOf(key, 2).bytes)).toBe(true);
    expect(await tier.loadVersion(key, 3)).toBeUndefined();
  });
});

test('every read gives the same rows on both paths', async () => {
  const key = await newUser();
  for (const seed of [1, 2]) await tiers.binary.save(key, recordOf(key, seed, 100), undefined, ASKED);
  const [own, callers] = databases as [Database, Database];
  const reads: [sql: Parameters<Database['rows']>[0], values: unknown[]][] = [
    [sql.LOAD_VERSION, [key.userId, 'default', 1]],
    [sql.LATEST_VERSION, [key.userId, 'default']],
    [sql.HEADS, [[key.userId], ['default']]],
    [sql.LIST, [key.userId]],
    [sql.COUNT, [key.userId]],
    [sql.STATS, []],
    [sql.PING, []],
  ];
  for (const [statement, values] of reads) {
    const rows = await own.rows(statement, values);
    expect(rows.length).toBeGreaterThan(0);
    expect(await callers.rows(statement, values)).toEqual(rows);
  }
  // A body that the asker holds already stays where it is.
  const [head] = await tiers.binary.heads([key]);
  for (const [statement, known] of [
    [sql.LOAD, head?.revision],
    [sql.LOAD_MANY, [head?.revision]],
  ] as const) {
    const names = statement === sql.LOAD ? [key.userId, 'default'] : [[key.userId], ['default']];
    const [row] = await own.rows(statement, [...names, known]);
    expect(row?.slice(0, 4)).toEqual([head?.revision, 2, null, null]);
  }
  // Their stamps may differ: every transaction in between moves them.
  for (const [statement, values] of [
    [sql.LOAD, [key.userId, 'default', -1]],
    [sql.LOAD_MANY, [[key.userId], ['default'], [-1]]],
  ] as const) {
    const rows = (await Promise.all([own, callers].map((each) => each.rows(statement, values)))).map(([row]) => row);
    expect(rows[0]?.toSpliced(4, 1)).toEqual(rows[1]?.toSpliced(4, 1));
  }
});

describe('save', () => {
  test('numbers versions from one; a number is not given twice, though its version was deleted', async () => {
    const key = await newUser();
    const { binary } = tiers;
    const save = async () => (await binary.save(key, recordOf(key), undefined, ASKED)).version;
    expect([await save(), await save()]).toEqual([1, 2]);
    await binary.delete(key);
    expect(await save()).toBe(3);
  });

  test('returns the revision that stays', async () => {
    const key = await newUser();
    for (let i = 0; i < 3; i++) {
      const saved = await tiers.binary.save(key, recordOf(key, i), undefined, ASKED);
      expect((await tiers.binary.heads([key]))[0]).toEqual({ key, revision: saved.revision, version: i + 1 });
    }
  });

  test('twenty at once are twenty versions, each with a revision of its own', async () => {
    const key = await newUser();
    const saved = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        tiers[i % 2 ? 'hex' : 'binary'].save(key, recordOf(key, i), undefined, ASKED),
      ),
    );
    expect(saved.map(({ version }) => version).toSorted((a, b) => a - b)).toEqual(saved.map((_, i) => i + 1));
    const inOrder = saved.toSorted((a, b) => a.version - b.version).map(({ revision }) => revision);
    expect(inOrder).toEqual([...new Set(inOrder)].toSorted((a, b) => a - b));
  });

  test('two first-time savers with expectedVersion 0: one is first, the other hears of it', async () => {
    for (let round = 0; round < 20; round++) {
      const key = await newUser();
      const settled = await Promise.allSettled(
        [tiers.binary, tiers.hex].map((tier, i) => tier.save(key, recordOf(key, i), 0, ASKED)),
      );
      expect(settled.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
      const refused = settled.find(({ status }) => status === 'rejected') as PromiseRejectedResult;
      expect(refused.reason as VersionConflictError).toMatchObject({ expectedVersion: 0, actualVersion: 1 });
      expect(await versionsOf(key)).toEqual([1]);
    }
  });

  test('two savers over one version: one is first; over a deleted one nobody is', async () => {
    const key = await newUser();
    await tiers.binary.save(key, recordOf(key), undefined, ASKED);
    const settled = await Promise.allSettled(
      [tiers.binary, tiers.hex].map((tier, i) => tier.save(key, recordOf(key, i), 1, ASKED)),
    );
    expect(settled.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    await tiers.binary.delete(key);
    await expect(tiers.binary.save(key, recordOf(key), 2, ASKED)).rejects.toMatchObject({ actualVersion: 0 });
    expect((await tiers.binary.save(key, recordOf(key), 0, ASKED)).version).toBe(3);
  });

  test('for a user that is not: refused and nothing left behind, or with createMissingUsers the user is made', async () => {
    const key = keyOf(randomUUID(), 'default');
    await expect(tiers.binary.save(key, recordOf(key), undefined, ASKED)).rejects.toMatchObject({
      code: 'USER_NOT_FOUND',
      userId: key.userId,
    });
    await expect(creating.save(key, recordOf(key), 3, ASKED)).rejects.toMatchObject({ code: 'VERSION_CONFLICT' });
    expect((await pool.query('select from users where id = $1', [key.userId])).rows.length).toBe(0);
    expect(await tiers.binary.heads([key])).toEqual([]);
    const saved = await Promise.all([1, 2, 3].map((seed) => creating.save(key, recordOf(key, seed), undefined, ASKED)));
    expect(saved.map(({ version }) => version).toSorted()).toEqual([1, 2, 3]);
  });
});

describe('rollback', () => {
  test('appends the old body; a version or an adapter that is not there is not found and takes no number', async () => {
    const key = await newUser();
    const { binary } = tiers;
    for (const seed of [1, 2]) await binary.save(key, recordOf(key, seed), undefined, ASKED);
    for (const [absent, version] of [
      [key, 9],
      [named(key, 'never'), 1],
    ] as const) {
      await expect(binary.rollback(absent, version)).rejects.toMatchObject({ code: 'ADAPTER_NOT_FOUND', version });
    }
    const written = await binary.rollback(key, 1);
    const loaded = await binary.load(key, undefined, ASKED);
    expect(written).toEqual({ key, version: 3, revision: loaded.revision });
    expect(loaded.record?.bytes.equals(recordOf(key, 1).bytes)).toBe(true);
  });

  test('waits for the delete that is removing its source, and does not bring it back', async () => {
    const key = await newUser();
    const { binary } = tiers;
    for (const seed of [1, 2]) await binary.save(key, recordOf(key, seed), undefined, ASKED);
    const client = await pool.connect();
    await client.query('begin');
    await client.query('delete from lora_adapters where user_id = $1 and version = 1', [key.userId]);
    const failing = binary.rollback(key, 1).then(
      () => expect.fail('it came back'),
      (error) => error,
    );
    await client.query('commit');
    client.release();
    expect(await failing).toMatchObject({ code: 'ADAPTER_NOT_FOUND' });
    expect(await versionsOf(key)).toEqual([2]);
  });
});

describe('delete, forget, prune', () => {
  test('all versions, or one; the head says what is left', async () => {
    const key = await newUser();
    const { binary } = tiers;
    for (const seed of [1, 2, 3]) await binary.save(key, recordOf(key, seed), undefined, ASKED);
    const third = await binary.delete(key, 3);
    expect(third).toMatchObject({ deleted: 1, version: 2 });
    expect(await binary.delete(key, 3)).toMatchObject({ deleted: 0, version: 2, revision: third.revision });
    const all = await binary.delete(key);
    expect(all).toMatchObject({ deleted: 2, version: 0 });
    expect(all.revision).toBeGreaterThan(third.revision);
    expect(await binary.delete(named(key, 'never'))).toMatchObject({ deleted: 0, version: 0, revision: 0 });
  });

  test('forgetUser removes bodies and heads of one user, and says which', async () => {
    const [key, stranger] = [await newUser(), await newUser()];
    const { binary } = tiers;
    const last = new Map<string, number>();
    for (const name of ['a', 'b']) {
      last.set(name, (await binary.save(named(key, name), recordOf(key), undefined, ASKED)).revision);
    }
    await binary.save(stranger, recordOf(stranger), undefined, ASKED);
    const { deleted, heads } = await binary.forgetUser(key.userId);
    expect(deleted).toBe(2);
    expect(heads.map(({ key: { adapterName }, version }) => [adapterName, version]).toSorted()).toEqual([
      ['a', 0],
      ['b', 0],
    ]);
    // Above what is cached: a node that knows of the last save must take it for news, and a later save for newer still.
    for (const head of heads) expect(head.revision).toBeGreaterThan(last.get(head.key.adapterName) ?? 0);
    const again = await binary.save(named(key, 'a'), recordOf(key), undefined, ASKED);
    expect(again.revision).toBeGreaterThan(heads[0]?.revision ?? 0);
    await binary.forgetUser(key.userId);
    expect(await binary.heads([named(key, 'a'), named(key, 'b')])).toEqual([]);
    expect((await binary.heads([stranger])).length).toBe(1);
    expect(await binary.forgetUser(key.userId)).toEqual({ deleted: 0, heads: [] });
  });

  test('PRUNE_VERSIONS keeps the newest of each adapter it is given, in batches', async () => {
    const key = await newUser();
    const { binary } = tiers;
    const names = ['a', 'b'].map((name) => named(key, name));
    for (const name of names)
      for (const seed of [1, 2, 3]) await binary.save(name, recordOf(key, seed), undefined, ASKED);
    const revisions = (await binary.heads(names)).map(({ revision }) => revision);
    const batches = [];
    const given = [[key.userId, key.userId], ['a', 'b'], 1, 3];
    for (let i = 0; i < 3; i++) batches.push((await binary.deleteBatch(sql.PRUNE_VERSIONS, given)).length);
    expect(batches).toEqual([3, 1, 0]);
    expect(await Promise.all(names.map(versionsOf))).toEqual([[3], [3]]);
    expect((await binary.heads(names)).map(({ revision }) => revision)).toEqual(revisions);
  });

  test('PRUNE_OLDER leaves the latest of each adapter alone unless told otherwise', async () => {
    const key = await newUser();
    const { binary } = tiers;
    for (const seed of [1, 2]) await binary.save(key, recordOf(key, seed), undefined, ASKED);
    await pool.query(`update lora_adapters set created_at = now() - interval '10 days' where user_id = $1`, [
      key.userId,
    ]);
    const older = (days: number, latestToo: boolean) =>
      binary.deleteBatch(sql.PRUNE_OLDER, [[key.userId], ['default'], days, latestToo, 10]);
    expect(await older(11, true)).toEqual([]);
    expect(await older(9.5, false)).toEqual([[key.userId, 'default', true]]);
    expect(await versionsOf(key)).toEqual([2]);
    expect(await older(9.5, true)).toEqual([[key.userId, 'default', true]]);
    expect((await binary.heads([key]))[0]?.version).toBe(0);
  });
});

test('a rollback to a version that is gone has its answer, and is no error of the tier', async () => {
  const tier = new PostgresTier(databases[0] as Database, { createMissingUsers: false }, quiet);
  const key = await newUser();
  await expect(tier.rollback(key, 7)).rejects.toMatchObject({ code: 'ADAPTER_NOT_FOUND', version: 7 });
  expect(tier.errors).toBe(0);
});

test('errors are those of errors.ts: a schema that is missing, a row that is locked too long', async () => {
  const empty = await createDatabase({ template: 'empty' });
  const bare = new Database(empty.url, { timeoutMs: 2000, maxQueue: 10 });
  const tier = new PostgresTier(bare, { createMissingUsers: false }, quiet);
  const key = await newUser();
  await expect(tier.load(key, undefined, ASKED)).rejects.toMatchObject({ code: 'SCHEMA_OUT_OF_DATE' });
  expect(tier.errors).toBe(1);
  await bare.close();
  await empty.drop();

  const impatient = new Database(database.url, { timeoutMs: 400, maxQueue: 10 });
  const client = await pool.connect();
  await client.query('begin');
  await client.query('select from users where id = $1 for update', [key.userId]);
  const saving = new PostgresTier(impatient, { createMissingUsers: false }, quiet).save(
    key,
    recordOf(key),
    undefined,
    ASKED,
  );
  await expect(saving).rejects.toMatchObject({
    code: 'STORAGE_UNAVAILABLE',
    message: expect.stringContaining('another session holds the row'),
  });
  await client.query('rollback');
  client.release();
  await impatient.close();
  expect(await versionsOf(key)).toEqual([]);
});
