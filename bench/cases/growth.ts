/** What a load from Postgres costs as the table grows to a million rows, before and after VACUUM. */
import assert from 'node:assert/strict';
import { LoRAStorage, migrate, type UserLoRAAdapter } from 'lora-store';
import type { Bench, Case } from '../harness/bench.js';
import type { Comparison } from '../harness/compare.js';
import { populate, userAt, withClient } from '../harness/population.js';
import type { LocalSide } from '../harness/side.js';

/** Small bodies, of 156 bytes: rows are what grows here, and a million of the usual ones are 41 GB. */
const SHAPE = { rank: 1, inputDim: 8, outputDim: 8 };

const CLEAN = 'after VACUUM';
/** A fifth of the bodies and all heads have been rewritten, and what they were still lies there. */
const DIRTY = 'never vacuumed';

interface Table {
  readonly rows: number;
  readonly url: string;
  readonly storage: LoRAStorage;
}

export default {
  question: 'What does a load from Postgres cost among a million rows?',
  async run(bench) {
    const counts = bench.quick ? [1_000, 20_000] : [1_000, 100_000, 1_000_000];
    const { url } = await bench.servers.postgres({ autovacuum: 'off', shared_buffers: '2GB' });
    const tables: Table[] = [];
    try {
      for (const rows of counts) tables.push(await tableOf(bench, url, rows));
      // Writing the rows takes as long as it takes; a share of what is left may be nothing.
      const seconds = 0.13 * bench.seconds;
      const dirty = await loads(bench, DIRTY, tables, seconds);
      for (const { url, rows } of tables) {
        bench.doing(`VACUUM of ${inWords(rows)}`);
        await withClient(url, (client) => client.query('vacuum analyze'));
      }
      const clean = await loads(bench, CLEAN, tables, seconds);
      report(bench, counts, { [DIRTY]: dirty, [CLEAN]: clean });
    } finally {
      for (const { storage } of tables) await storage.close();
    }
  },
} satisfies Case;

async function tableOf(bench: Bench, server: string, rows: number): Promise<Table> {
  bench.doing(`writing ${inWords(rows)}`);
  const name = `growth_${rows}`;
  await withClient(server, (client) => client.query(`create database ${name}`));
  const url = Object.assign(new URL(server), { pathname: name }).href;
  await migrate({ postgres: url });
  await populate(url, { count: rows, shape: SHAPE });
  await withClient(url, async (client) => {
    await client.query('set session_replication_role = replica');
    await client.query(
      "update lora_adapters set updated_at = now() where user_id < '33333333-3333-3333-3333-333333333333'",
    );
    await client.query('update lora_adapter_heads set revision = revision + 1');
  });
  // Each load goes to Postgres: what memory spares is another case's.
  return { rows, url, storage: await LoRAStorage.open({ postgres: url, redis: false, memory: false }) };
}

async function loads(bench: Bench, group: string, tables: readonly Table[], seconds: number): Promise<Comparison> {
  const sides = tables.map(({ rows, storage }) => sideOf(`${inWords(rows)}, ${group}`, rows, storage));
  return await bench.compare({ group: `loads ${group}`, sides, seconds });
}

/** Any user of the table, each as likely as the other: no part of it is hot. */
function sideOf(name: string, rows: number, storage: LoRAStorage): LocalSide {
  let place = 0;
  let asked = '';
  return {
    name,
    run() {
      place = (Math.imul(place, 1664525) + 1013904223) >>> 0;
      asked = userAt(Math.floor((place / 2 ** 32) * rows));
      return storage.loadAdapter(asked);
    },
    check(adapter: UserLoRAAdapter) {
      assert.equal(adapter.userId, asked);
      assert.equal(adapter.inputDim, SHAPE.inputDim);
    },
  };
}

function report(bench: Bench, counts: readonly number[], comparisons: Readonly<Record<string, Comparison>>): void {
  const [least, ...more] = counts as [number, ...number[]];
  const ratios = Object.entries(comparisons).flatMap(([group, { ratio }]) =>
    more.map((rows) => ({
      group,
      rows,
      ratio: ratio(`${inWords(rows)}, ${group}`, `${inWords(least)}, ${group}`, 'p50'),
    })),
  );
  const what = 'load latency at 1 million rows / at 1 thousand';
  const million = ratios.find(({ group, rows }) => group === CLEAN && rows === 1_000_000);
  if (million) bench.target(what, '<=', 1.3, million.ratio);
  else bench.target(what, '<=', 1.3, null, 'a --quick run stops at 20,000 rows');
  bench.curve({
    name: 'Load latency as the table grows',
    x: { label: 'rows', scale: 'log' },
    y: { label: 'µs', scale: 'log' },
    series: Object.entries(comparisons).flatMap(([group, { sides }]) =>
      (['p50', 'p99'] as const).map((statistic) => ({
        name: `${statistic}, ${group}`,
        points: sides.map(({ latency }, i) => [counts[i] as number, latency[statistic]] as const),
      })),
    ),
  });
  bench.note(`Bodies of 156 bytes (rank ${SHAPE.rank}): rows of 41 KB would make a million of them 41 GB.`);
  bench.note(
    `Where ${DIRTY}, a fifth of the bodies and all heads were rewritten once, and the planner has no statistics. The target is about tables ${CLEAN}: autovacuum, off here, is on by default.`,
  );
  bench.note(
    'Users are asked for with equal probability, so nothing stays hot, and shared_buffers is 2 GB, so all of it stays in memory.',
  );
}

function inWords(rows: number): string {
  return `${rows.toLocaleString('en-US')} rows`;
}
