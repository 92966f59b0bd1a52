/** What many adapters cost at once, and what it costs to list a user's and to delete one, against statements by hand. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { encodeAdapter, LoRAStorage, UserLoRAAdapter } from 'lora-store';
import type pg from 'pg';
import { isAdapter, savedAdapters } from '../harness/adapters.js';
import { createBareTable, deleteBare, insertBare, newestOf, poolOf } from '../harness/bare.js';
import type { Bench, Case } from '../harness/bench.js';
import type { RemoteSide } from '../harness/side.js';

const NAME = 'default';

/** Of the storage's: long enough for a busy machine, and for a thousand adapters in one answer. */
const POSTGRES_TIMEOUT_MS = 20_000;

const VERSIONS = 20;

export default {
  question: 'What do loads of many, lists and deletions cost?',
  async run(bench) {
    const { url } = await bench.servers.postgres();
    const pool = poolOf(url);
    const options = { postgres: url, redis: false, memory: false, postgresTimeoutMs: POSTGRES_TIMEOUT_MS } as const;
    const storage = await LoRAStorage.open({ ...options, createMissingUsers: true });
    try {
      const counts = bench.quick ? [1, 10, 100] : [1, 10, 100, 1000];
      bench.doing('saving adapters');
      const adapters = await savedAdapters(storage, counts.at(-1) as number);
      await pool.query('analyze');
      await loading(bench, storage, pool, adapters, counts);
      await listing(bench, storage, pool);
      await deleting(bench, storage, pool);
    } finally {
      await storage.close();
      await pool.end();
    }
    bench.note('pg by hand fetches the rows and does nothing with their bytes, which reach it as hex.');
    bench.note(
      'The DELETE by hand locks no user, keeps no head and tells nobody; it is one statement without a transaction.',
    );
    if (bench.quick) bench.note('1,000 keys are loaded in a full run only.');
  },
} satisfies Case;

async function loading(
  bench: Bench,
  storage: LoRAStorage,
  pool: pg.Pool,
  adapters: readonly UserLoRAAdapter[],
  counts: readonly number[],
): Promise<void> {
  const seconds = (0.7 * bench.secondsLeft) / counts.length;
  const points: { ours: [number, number][]; bare: [number, number][] } = { ours: [], bare: [] };
  for (const count of counts) {
    const users = adapters.slice(0, count).map(({ userId }) => userId);
    const keys = users.map((userId) => ({ userId, adapterName: NAME }));
    const last = adapters[count - 1] as UserLoRAAdapter;
    const [ours, bare] = [`loadAdapters of ${count}`, `pg by hand, ${count}`];
    const { sides, ratio } = await bench.compare({
      group: `${count} keys`,
      sides: [
        {
          name: ours,
          run: () => storage.loadAdapters(keys),
          check(answers: UserLoRAAdapter[]) {
            assert.equal(answers.length, count);
            isAdapter(last)(answers.at(-1) as UserLoRAAdapter);
          },
        },
        {
          name: bare,
          run: async () => (await pool.query<{ user_id: string; weights: Buffer }>(newestOf(users, NAME))).rows,
          check(rows: { user_id: string; weights: Buffer }[]) {
            assert.equal(rows.length, count);
            assert.deepEqual(rows.find((row) => row.user_id === last.userId)?.weights, encodeAdapter(last));
          },
        },
      ],
      seconds,
      sliceMs: count < 1000 ? 60 : 300,
    });
    ratio(ours, bare);
    points.ours.push([count, (sides[0]?.latency.p50 ?? 0) / count]);
    points.bare.push([count, (sides[1]?.latency.p50 ?? 0) / count]);
  }
  bench.curve({
    name: 'Loading many at once',
    x: { label: 'keys in one call', scale: 'log' },
    y: { label: 'µs for each, p50', scale: 'log' },
    series: [
      { name: 'loadAdapters', points: points.ours },
      { name: 'pg by hand', points: points.bare },
    ],
  });
}

async function listing(bench: Bench, storage: LoRAStorage, pool: pg.Pool): Promise<void> {
  const adapter = new UserLoRAAdapter(randomUUID()).initializeRandom(1);
  for (let i = 0; i < VERSIONS; i++) await storage.saveAdapter(adapter);
  const text = `select adapter_name, version, size_bytes, training_iterations, created_at, updated_at
    from lora_adapters where user_id = $1 order by updated_at desc`;
  const check = (rows: { version: number }[]) => {
    assert.equal(rows.length, VERSIONS);
    assert.equal(rows[0]?.version, VERSIONS);
  };
  const [ours, bare] = [`listAdapters of ${VERSIONS}`, 'pg by hand, list'];
  const { ratio } = await bench.compare({
    group: `a list of ${VERSIONS} versions`,
    sides: [
      { name: ours, run: () => storage.listAdapters(adapter.userId), check },
      {
        name: bare,
        run: async () => (await pool.query({ name: 'list', text, values: [adapter.userId] })).rows,
        check,
      },
    ],
    seconds: 0.35 * bench.secondsLeft,
  });
  ratio(ours, bare);
}

/** What is deleted is saved in the same turn, outside the time. */
async function deleting(bench: Bench, storage: LoRAStorage, pool: pg.Pool): Promise<void> {
  await createBareTable(pool);
  const adapter = new UserLoRAAdapter(randomUUID()).initializeRandom(1);
  const { userId } = adapter;
  const record = encodeAdapter(adapter);
  const [ours, bare] = ['deleteAdapter', 'pg by hand, delete'];
  const { ratio } = await bench.compare({
    group: 'a deletion',
    sides: [
      prepared(
        ours,
        () => storage.saveAdapter(adapter, NAME),
        () => storage.deleteAdapter(userId, NAME),
      ),
      prepared(
        bare,
        () => pool.query(insertBare(userId, NAME, 1, record)),
        async () => (await pool.query(deleteBare(userId, NAME))).rowCount,
      ),
    ],
    seconds: 0.8 * bench.secondsLeft,
  });
  ratio(ours, bare);
}

/** Times `remove` alone, which answers that it removed one. */
function prepared(name: string, save: () => Promise<unknown>, remove: () => Promise<number | null>): RemoteSide {
  const once = async (): Promise<number> => {
    await save();
    const before = performance.now();
    const removed = await remove();
    const microseconds = (performance.now() - before) * 1000;
    assert.equal(removed, 1);
    return microseconds;
  };
  return {
    name,
    callsPerSample: 1,
    check: once,
    async slice(milliseconds) {
      const times: number[] = [];
      const end = performance.now() + milliseconds;
      do times.push(await once());
      while (performance.now() < end);
      return times;
    },
  };
}
