/**
 * npm run bench:scale -- [--quick] [--users n] [--full n] [--out file]: a million users with small adapters and a hundred
 * thousand of full size, on servers of its own with a durable Postgres; what loads, saves, VACUUM and Redis do there. Prints
 * the figures and writes bench/results/scale-<date>.json. The data lies below TMPDIR and goes with the process, however it ends.
 */
import { mkdirSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { root } from '../../test/support/root.js';
import { Bench } from '../harness/bench.js';
import { environment } from '../harness/environment.js';
import { withClient } from '../harness/population.js';
import type { Constants } from './constants.js';
import { measureEars } from './ears.js';
import { forgetFiles, measureLoads } from './loads.js';
import { type Plan, planFor } from './plan.js';
import { fill, type Population } from './population.js';
import { scaleText } from './print.js';
import { measureRedis } from './redis.js';
import type { ScaleResults } from './results.js';
import { commitUs, measureBoth, measureSaves } from './saves.js';
import { bodiesOf, sizesOf } from './sizes.js';
import { firstVacuum, measureVacuum, secondsOf } from './vacuum.js';

/** Of Postgres, each at its default: a harness for tests has others. */
const SETTINGS = {
  fsync: 'on',
  full_page_writes: 'on',
  shared_buffers: '128MB',
  max_wal_size: '1GB',
  autovacuum_naptime: '1min',
} as const;

const SMALL = { rank: 1, inputDim: 8, outputDim: 8 };
const SEED = { rank: 8, inputDim: 512, outputDim: 768 };

const program = new Command('npm run bench:scale --')
  .option('--users <n>', 'users with an adapter of rank 1; default: 1,000,000, or 20,000 with --quick', wholeNumber)
  .option('--full <n>', 'users with an adapter of 41,052 bytes; default: 100,000, or 400 with --quick', wholeNumber)
  .option('--quick', 'a look, in less than a minute')
  .option('--out <file>', 'where to write what was found; default: bench/results/scale-<date>.json')
  .parse();
const given = program.opts<{ users?: number; full?: number; quick?: boolean; out?: string }>();
const { quick = false } = given;
const asked = {
  users: given.users ?? (quick ? 20_000 : 1_000_000),
  full: given.full ?? (quick ? 400 : 100_000),
  quick,
};
const { bavail, bsize } = statfsSync(tmpdir());
const plan = planOrEnd();
if (plan.reduced !== undefined) say(plan.reduced);

/** What each step takes; a quick run has a tenth of a second where a full one has two and more. */
const seconds = quick ? 0.3 : 8;
const inRedis = Math.min(quick ? 200 : 10_000, plan.users, plan.full);
const inMemory = Math.min(quick ? 200 : 5_000, plan.users, plan.full);

const began = new Date();
let toldAt = 0;
const bench = new Bench('scale', 600, quick, tell);
try {
  const results = await measure(plan);
  say(scaleText(results));
  const path = given.out ?? join(root, 'bench/results', `scale-${results.date.replaceAll(':', '-')}.json`);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify(results)}\n`);
  say(`\n${path}`);
} finally {
  await bench.servers.stop();
}

function planOrEnd(): Plan {
  try {
    return planFor(asked, bavail * bsize);
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    process.exit(1);
  }
}

async function measure({ users, full }: Plan): Promise<ScaleResults> {
  const here = environment();
  const [postgres, redis] = [await bench.servers.postgres(SETTINGS), await bench.servers.redis()];
  await withClient(postgres.url, async (client) => {
    const { rows } = await client.query("select current_setting('data_directory') as path");
    say(`data: ${rows[0].path}; it goes when this ends, or is ended`);
  });
  const doing = (what: string) => bench.doing(what);
  const small = await fill(
    postgres.url,
    { name: 'small', users, shape: SMALL, batch: 10_000, autovacuum: true },
    doing,
  );
  const large = await fill(
    postgres.url,
    { name: 'full', users: full, shape: SEED, batch: 1_000, autovacuum: false },
    doing,
  );
  const loadPlan = { redis: redis.url, inRedis, inMemory, seconds };
  const fresh = await afterTheFill(small, large);
  const found: Partial<Constants>[] = [
    { fillSmallPerSecond: small.filledPerSecond, fillFullPerSecond: large.filledPerSecond },
    fresh,
    await measureRedis(large, redis.url, inRedis),
    await measureLoads(bench, small, loadPlan).then(() => ({})),
    await measureLoads(bench, large, loadPlan),
    await saves(small, large),
    await measureEars(small, redis.url, quick ? 5_000 : 200_000),
    await measureVacuum(bench, large, {
      users: Math.min(full, quick ? 50 : 2_000),
      versions: 4,
      freshBytes: fresh.rowBytes + fresh.toastBytes + fresh.indexBytes,
    }),
  ];
  await noteAutovacuum(small);
  const { result, servers } = bench.finding('What do a million users cost?');
  return {
    format: 1,
    date: began.toISOString(),
    quick,
    seconds: (Date.now() - began.getTime()) / 1000,
    command: ['npm run bench:scale', ...(process.argv.length > 2 ? ['--', ...process.argv.slice(2)] : [])].join(' '),
    environment: { ...here, servers },
    settings: SETTINGS,
    users,
    full,
    loads: result,
    constants: Object.assign({}, ...found),
  };
}

async function afterTheFill(small: Population, large: Population) {
  bench.doing('VACUUM ANALYZE of both');
  await firstVacuum(small);
  const seconds = await firstVacuum(large);
  const [few, many] = [await sizesOf(large), await sizesOf(small)];
  bench.doing('every body is read once, by COPY');
  const refused = await forgetFiles(large.url);
  if (refused !== undefined) bench.note(`COPY found the bodies in what caches there were: ${refused}.`);
  const copied = await withClient(large.url, (client) =>
    secondsOf(() => client.query("copy lora_adapters to '/dev/null' (format binary)")),
  );
  return {
    userBytes: many.users / small.users,
    headBytes: many.heads / small.users,
    headIndexBytes: many.headIndex / small.users,
    smallVersionBytes: bodiesOf(many) / small.users,
    rowBytes: few.rows / large.users,
    toastBytes: few.toast / large.users,
    indexBytes: few.indexes / large.users,
    firstVacuumBytesPerSecond: bodiesOf(few) / seconds,
    copyBytesPerSecond: (large.template.length * large.users) / copied,
  };
}

async function saves(small: Population, large: Population): Promise<Partial<Constants>> {
  bench.doing('a commit that waits for the disk');
  const commit = await commitUs(large, seconds / 4);
  const [few, many] = [await measureSaves(bench, small, seconds), await measureSaves(bench, large, seconds)];
  const both = await measureBoth(bench, [small, large], seconds);
  return {
    commitUs: commit,
    savesPerSecondSmall: few.perSecond,
    savesPerSecond: many.perSecond,
    savesPerSecondSilent: many.silentPerSecond,
    savesPerSecondBoth: both,
    saveNodeUs: many.nodeUs,
    ...(many.postgresUs === undefined ? {} : { savePostgresUs: many.postgresUs }),
    walBytesSmall: few.walBytes,
    walBytes: many.walBytes,
    walPageImages: many.walPageImages,
    notifyQueueShare: Math.max(few.queueShare, many.queueShare),
  };
}

async function noteAutovacuum({ name, url }: Population): Promise<void> {
  const { rows } = await withClient(url, (client) =>
    client.query<{ relname: string; runs: string; dead: string; live: string }>(
      'select relname, autovacuum_count as runs, n_dead_tup as dead, n_live_tup as live from pg_stat_user_tables order by relname',
    ),
  );
  for (const { relname, runs, dead, live } of rows)
    bench.note(`${name}, ${relname}: autovacuum came ${runs} times; at the end ${live} rows live, ${dead} dead.`);
}

function wholeNumber(text: string): number {
  const value = Number(text.replaceAll(/[_,]/g, ''));
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError('It takes a whole number, 1 or more.');
  return value;
}

/** Not each of many rounds. */
function tell(what: string): void {
  const now = Date.now();
  if (now - toldAt < 2_000) return;
  toldAt = now;
  const whole = Math.round((now - began.getTime()) / 1000);
  process.stderr.write(`${clock(whole)} ${what}\n`);
}

function clock(whole: number): string {
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')}`;
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
