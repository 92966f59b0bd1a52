/** What a save through all tiers costs, against an INSERT of the same bytes; and what telling of it does to many writers. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { encodeAdapter, LoRAStorage, migrate, UserLoRAAdapter } from 'lora-store';
import type pg from 'pg';
import { createBareTable, insertBare, poolOf } from '../harness/bare.js';
import type { Bench, Case } from '../harness/bench.js';
import type { LocalSide } from '../harness/side.js';

const WRITERS = 8;

/** Of the storages': long enough for a busy machine. */
const POSTGRES_TIMEOUT_MS = 20_000;

export default {
  question: 'What does a save cost?',
  async run(bench) {
    const [postgres, redis] = [await bench.servers.postgres(), await bench.servers.redis()];
    const pool = poolOf(postgres.url);
    const silent = await anotherDatabase(pool, postgres.url);
    const options = { postgres: postgres.url, postgresTimeoutMs: POSTGRES_TIMEOUT_MS };
    // One after the other: what one of them opened must not be left open by the next that fails.
    const storages: LoRAStorage[] = [];
    const open = async (more: object) => {
      const storage = await LoRAStorage.open({ ...options, ...more });
      storages.push(storage);
      return storage;
    };
    try {
      await createBareTable(pool);
      const all = await open({ redis: redis.url });
      await oneByOne(bench, [savesOf('saveAdapter', all, await writers(pool)), await inserts('bare INSERT', pool)]);
      // Only now: an ear in this process that hears every save takes its time from the one that saves.
      const deaf = await open({ redis: false, changeFeed: false });
      const quiet = await open({ redis: false, changeFeed: false, postgres: silent.options.connectionString });
      await silence(silent);
      const hearing = await open({ redis: false });
      await together(bench, [
        savesOf('saveAdapter, change feed on', hearing, await writers(pool)),
        savesOf('saveAdapter, change feed off', deaf, await writers(pool)),
        savesOf('saveAdapter, no NOTIFY at all', quiet, await writers(silent)),
        await inserts(`bare INSERT, ${WRITERS} writers`, pool),
      ]);
    } finally {
      for (const storage of storages) await storage.close();
      await Promise.all([pool.end(), silent.end()]);
    }
    bench.note(
      'bare INSERT: a Pool of pg, a prepared statement, autocommit, a table with the columns, indexes and foreign key of lora_adapters on the same server; it finds out no version number, computes no checksum, keeps no head, fills no cache and tells nobody.',
    );
    bench.note(
      'saveAdapter is done when Postgres has committed: Redis is written and nodes are told behind its back, in the same process and within the slice.',
    );
    bench.note('One node: ears of other nodes would work in other processes.');
    bench.note(
      'fsync is off on both sides: on a disk that waits for it a commit costs both the same, and the ratio falls.',
    );
    bench.note(
      'Change feed off: this node does not listen, but the trigger tells all the same. No NOTIFY at all: the triggers that tell are disabled, for comparison only.',
    );
  },
} satisfies Case;

async function oneByOne(bench: Bench, sides: readonly LocalSide[]): Promise<void> {
  const { ratio } = await bench.compare({
    group: 'one save at a time',
    sides,
    seconds: 0.5 * bench.secondsLeft,
    sliceMs: 100,
  });
  bench.target(
    'save through all tiers / bare INSERT of the same bytes, p50',
    '<=',
    1.3,
    ratio('saveAdapter', 'bare INSERT', 'p50'),
  );
  ratio('saveAdapter', 'bare INSERT', 'p99');
}

async function together(bench: Bench, sides: readonly LocalSide[]): Promise<void> {
  const { ratio } = await bench.compare({
    group: `${WRITERS} writers`,
    sides,
    seconds: 0.8 * bench.secondsLeft,
    concurrency: WRITERS,
    sliceMs: 150,
  });
  for (const other of [
    'saveAdapter, change feed off',
    'saveAdapter, no NOTIFY at all',
    `bare INSERT, ${WRITERS} writers`,
  ])
    ratio('saveAdapter, change feed on', other, 'perSecond');
}

/** Users who exist, each with an adapter to save: no two saves under way are of the same one. */
async function writers(pool: pg.Pool): Promise<UserLoRAAdapter[]> {
  const adapters = Array.from({ length: WRITERS }, (_, i) => new UserLoRAAdapter(randomUUID()).initializeRandom(i));
  await pool.query('insert into users (id) select unnest($1::uuid[])', [adapters.map(({ userId }) => userId)]);
  return adapters;
}

/** Each save of a user's gives the next version. */
function savesOf(name: string, storage: LoRAStorage, adapters: readonly UserLoRAAdapter[]): LocalSide {
  let turn = -1;
  return {
    name,
    run() {
      turn = (turn + 1) % adapters.length;
      return storage.saveAdapter(adapters[turn] as UserLoRAAdapter);
    },
    async check(version: number) {
      assert.equal(version, 1);
      const [first] = adapters as [UserLoRAAdapter];
      const saved = await storage.loadAdapterVersion(first.userId, 'default', version);
      assert.deepEqual(encodeAdapter(saved), encodeAdapter(first));
    },
  };
}

/** As savesOf encodes an adapter on each save, so does this; it has to think of the version by itself. */
async function inserts(name: string, pool: pg.Pool): Promise<LocalSide> {
  const adapters = await writers(pool);
  let calls = -1;
  return {
    name,
    run() {
      calls++;
      const adapter = adapters[calls % adapters.length] as UserLoRAAdapter;
      const version = 1 + Math.floor(calls / adapters.length);
      return pool.query(insertBare(adapter.userId, 'default', version, encodeAdapter(adapter)));
    },
    async check({ rowCount }: pg.QueryResult) {
      assert.equal(rowCount, 1);
      const [first] = adapters as [UserLoRAAdapter];
      const { rows } = await pool.query('select weights from bare_adapters where user_id = $1', [first.userId]);
      assert.deepEqual(rows[0]?.weights, encodeAdapter(first));
    },
  };
}

/** Another database of the same server. */
async function anotherDatabase(pool: pg.Pool, url: string): Promise<pg.Pool> {
  await pool.query('create database another');
  const at = new URL(url);
  at.pathname = '/another';
  await migrate({ postgres: at.href });
  return poolOf(at.href);
}

/** After a storage was opened: none opens where a trigger is missing. */
async function silence(pool: pg.Pool): Promise<void> {
  for (const event of ['insert', 'update', 'delete'])
    await pool.query(`alter table lora_adapter_heads disable trigger lora_adapter_heads_notify_${event}`);
}
