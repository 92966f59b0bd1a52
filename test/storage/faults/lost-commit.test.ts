/**
 * A write whose answer was lost: its caller hears that the outcome is not known, nothing cached passes for the latest on
 * that node, and the next load tells what happened: it was committed, it was not, or it is even committed later.
 */
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { encodeAdapter } from '../../../src/adapter/codec.js';
import type { LoRAStorageOptions } from '../../../src/options.js';
import type { LoRAStorage } from '../../../src/storage/lora-storage.js';
import type { FaultProxy } from '../../support/proxy.js';
import { redisUrl } from '../../support/redis.js';
import { smallAdapter, useStorage } from '../../support/storage.js';
import { waitFor } from '../../support/wait.js';
import { codeOf, proxyTo, SLACK_MS, versionAt } from './support.js';

const bench = useStorage();
let proxy: FaultProxy;
/** A session that holds what the write needs. */
let holder: pg.Client;

beforeEach(async () => {
  proxy = await proxyTo(bench.postgresUrl);
  holder = new pg.Client(bench.postgresUrl);
  await holder.connect();
});
afterEach(async () => {
  await holder?.end();
  await proxy?.close();
});

const modes: [string, () => LoRAStorageOptions][] = [
  ['feed and Redis', () => ({ redis: redisUrl() })],
  ['the feed alone', () => ({ redis: false })],
  ['Redis alone', () => ({ redis: redisUrl(), changeFeed: false })],
  ['neither', () => ({ redis: false, changeFeed: false })],
  ['no memory', () => ({ redis: redisUrl(), memory: false })],
];

/** Its writes and loads go through the proxy, its ear does not: it hears what was committed, and when. */
const open = (options: LoRAStorageOptions): Promise<LoRAStorage> =>
  bench.open({
    postgres: { primary: proxy.url(bench.postgresUrl), direct: bench.postgresUrl },
    maxStalenessMs: 1000,
    ...options,
  });

/** Version 1 is saved, and in every cache there is. */
async function known(node: LoRAStorage): Promise<string> {
  const userId = await bench.user();
  await node.saveAdapter(smallAdapter(userId, 1));
  expect(await node.loadAdapterInfo(userId)).toMatchObject({ version: 1, stale: false });
  return userId;
}

async function expectLatest(node: LoRAStorage, userId: string, version: number): Promise<void> {
  const { adapter, ...info } = await waitFor(() => node.loadAdapterInfo(userId));
  expect(info).toMatchObject({ version, stale: false });
  expect(encodeAdapter(adapter).equals(encodeAdapter(smallAdapter(userId, version)))).toBe(true);
}

/** Of a backend of ours that waits for what `holder` has. */
const waiting = () =>
  waitFor(async () => {
    const [row] = await bench.sql<{ pid: number }>(
      `select pid from pg_stat_activity where datname = current_database() and application_name = 'lora-store'
         and wait_event_type = 'Lock'`,
    );
    return row?.pid;
  });

/** Breaks every connection once `versions` of that user are there for everybody to see. */
async function cutOnceCommitted(userId: string, versions: number): Promise<void> {
  await waitFor(async () => {
    const rows = await bench.sql('select from lora_adapters where user_id = $1', [userId]);
    return rows.length === versions;
  });
  proxy.cut();
}

/** The owner's row, which every write locks first. */
async function holdOwner(userId: string): Promise<void> {
  await holder.query('begin');
  await holder.query('select from users where id = $1 for update', [userId]);
}

describe('a save', () => {
  test.each(modes)('that was committed is the latest for the next load: with %s', async (_, mode) => {
    const node = await open(mode());
    const userId = await known(node);
    proxy.mute('answers');
    const saving = codeOf(node.saveAdapter(smallAdapter(userId, 2)));
    await cutOnceCommitted(userId, 2);
    expect(await saving).toBe('SAVE_OUTCOME_UNKNOWN');
    proxy.heal();
    await expectLatest(node, userId, 2);
    expect(await node.saveAdapter(smallAdapter(userId, 3), 'default', { expectedVersion: 2 })).toBe(3);
    await expectLatest(node, userId, 3);
    await node.close();
  });

  test.each(modes)('that was not committed left nothing: with %s', async (_, mode) => {
    const node = await open(mode());
    const userId = await known(node);
    await holdOwner(userId);
    const saving = codeOf(node.saveAdapter(smallAdapter(userId, 2)));
    await bench.sql('select pg_terminate_backend($1)', [await waiting()]);
    expect(await saving).toBe('SAVE_OUTCOME_UNKNOWN');
    await holder.query('commit');
    await expectLatest(node, userId, 1);
    expect(await node.countAdapters(userId)).toBe(1);
    expect(await node.saveAdapter(smallAdapter(userId, 2))).toBe(2);
    await expectLatest(node, userId, 2);
    await node.close();
  });

  test.each(modes)(
    'that is committed after its caller has given up is seen as soon as any other: with %s',
    async (_, mode) => {
      const node = await open(mode());
      const userId = await known(node);
      await holdOwner(userId);
      const saving = codeOf(node.saveAdapter(smallAdapter(userId, 2)));
      await waiting();
      // The client is gone, which a backend that waits for a lock does not see.
      proxy.cut();
      expect(await saving).toBe('SAVE_OUTCOME_UNKNOWN');
      proxy.heal();
      await expectLatest(node, userId, 1);
      await holder.query('commit');
      await waitFor(async () => (await versionAt(node, userId)) === 2);
      await expectLatest(node, userId, 2);
      await node.close();
    },
  );

  test('that is answered by nothing but silence is given up in time', async () => {
    const node = await open({ redis: false, postgresTimeoutMs: 1000 });
    const userId = await known(node);
    proxy.mute('answers');
    const begun = performance.now();
    expect(await codeOf(node.saveAdapter(smallAdapter(userId, 2)))).toBe('SAVE_OUTCOME_UNKNOWN');
    expect(performance.now() - begun).toBeLessThan(1000 + SLACK_MS);
    proxy.heal();
    await expectLatest(node, userId, 2);
    await node.close();
  });

  test('that ends in the middle of its answer was committed', async () => {
    const node = await open({ redis: false });
    const userId = await known(node);
    proxy.cutAfter(20);
    expect(await codeOf(node.saveAdapter(smallAdapter(userId, 2)))).toBe('SAVE_OUTCOME_UNKNOWN');
    await expectLatest(node, userId, 2);
    await node.close();
  });

  test('of which never anything was sent is no doubt at all', async () => {
    const node = await open({ redis: false });
    const userId = await known(node);
    proxy.cut();
    // The first may still go out on a connection that nobody knows to be dead.
    const codes = new Set<string>();
    await waitFor(async () => {
      codes.add(await codeOf(node.saveAdapter(smallAdapter(userId, 2))));
      return codes.has('STORAGE_UNAVAILABLE');
    });
    expect(codes.has('none')).toBe(false);
    proxy.heal();
    await expectLatest(node, userId, 1);
    await node.close();
  });
});

describe('a transaction whose COMMIT is not answered', () => {
  const GATE = 4711;

  /** Every commit of a version that came or went waits at its end for who holds the gate. */
  async function gateCommits(): Promise<void> {
    await bench.sql(`create or replace function wait_at_the_gate() returns trigger language plpgsql as
      $$ begin perform pg_advisory_xact_lock_shared(${GATE}); return null; end $$`);
    await bench.sql(`create constraint trigger gate after insert or delete on lora_adapters deferrable initially deferred
      for each row execute function wait_at_the_gate()`);
    await holder.query(`select pg_advisory_lock(${GATE})`);
  }
  const openGate = () => holder.query(`select pg_advisory_unlock(${GATE})`);
  afterEach(() => bench.sql('drop trigger if exists gate on lora_adapters'));

  const writes: [string, number | string, (node: LoRAStorage, userId: string) => Promise<unknown>][] = [
    ['a rollback', 3, (node, userId) => node.rollbackAdapter(userId, 'default', 1)],
    ['a save', 3, (node, userId) => node.saveAdapter(smallAdapter(userId, 3))],
    [
      'a save over a version',
      3,
      (node, userId) => node.saveAdapter(smallAdapter(userId, 3), 'default', { expectedVersion: 2 }),
    ],
  ];

  test.each(writes)('%s that was committed', async (_, version, write) => {
    const node = await open({});
    const userId = await known(node);
    await node.saveAdapter(smallAdapter(userId, 2));
    await gateCommits();
    const writing = codeOf(write(node, userId));
    await waiting();
    proxy.mute('answers');
    await openGate();
    await cutOnceCommitted(userId, 3);
    expect(await writing).toBe('SAVE_OUTCOME_UNKNOWN');
    proxy.heal();
    expect(await waitFor(async () => versionAt(node, userId))).toBe(version);
    await node.close();
  });

  test.each(writes)('%s that was not', async (_, __, write) => {
    const node = await open({});
    const userId = await known(node);
    await node.saveAdapter(smallAdapter(userId, 2));
    await gateCommits();
    const writing = codeOf(write(node, userId));
    await bench.sql('select pg_terminate_backend($1)', [await waiting()]);
    expect(await writing).toBe('SAVE_OUTCOME_UNKNOWN');
    await openGate();
    await expectLatest(node, userId, 2);
    await node.close();
  });

  test('the first save of a user who is created with it', async () => {
    const node = await open({ createMissingUsers: true });
    const userId = randomUUID();
    await gateCommits();
    const saving = codeOf(node.saveAdapter(smallAdapter(userId, 1)));
    await waiting();
    proxy.mute('answers');
    await openGate();
    await cutOnceCommitted(userId, 1);
    expect(await saving).toBe('SAVE_OUTCOME_UNKNOWN');
    proxy.heal();
    await expectLatest(node, userId, 1);
    await node.close();
  });

  test.each(['committed', 'not committed'])('a deletion may simply be called again: it was %s', async (outcome) => {
    const node = await open({});
    const userId = await known(node);
    await gateCommits();
    const deleting = codeOf(node.deleteAdapter(userId));
    const pid = await waiting();
    if (outcome === 'committed') {
      proxy.mute('answers');
      await openGate();
      await cutOnceCommitted(userId, 0);
    } else {
      await bench.sql('select pg_terminate_backend($1)', [pid]);
      await openGate();
    }
    expect(await deleting).toBe('STORAGE_UNAVAILABLE');
    proxy.heal();
    if (outcome === 'committed') expect(await waitFor(() => versionAt(node, userId))).toBe('ADAPTER_NOT_FOUND');
    else await expectLatest(node, userId, 1);
    expect(await node.deleteAdapter(userId)).toBe(outcome === 'committed' ? 0 : 1);
    expect(await versionAt(node, userId)).toBe('ADAPTER_NOT_FOUND');
    await node.close();
  });
});
