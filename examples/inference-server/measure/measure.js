// @ts-check
/**
 * node examples/inference-server/measure/measure.js: rankings per second of this server, with 95 % of its loads in memory,
 * and of the same server reading each adapter with pg, in turns, from autocannon in a process of its own. Prints the table of
 * the README beside. What it saves it takes away again.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { LoRAStorage, UserLoRAAdapter } from 'lora-store';
import { Closing } from '../../servers/closing.js';
import { getPostgres } from '../../servers/postgres.js';
import { say, table } from '../../servers/print.js';
import { getRedis } from '../../servers/redis.js';
import { contentIds } from '../catalogue.js';
import { startNode } from './nodes.js';
import { USERS, userAt } from './users.js';

const run = promisify(execFile);
const ROUNDS = 7;
const SECONDS = 4;
const CANDIDATES = 20;

/** @typedef {{ perSecond: number, p50: number, p99: number }} Load Latencies in milliseconds. */

const closing = new Closing();
closing.onSignals();
try {
  const postgres = await getPostgres(closing);
  const redis = await getRedis(closing);
  say(
    `${cpus()[0]?.model}, ${cpus().length} cores; Node ${process.version}; Postgres ${postgres.words}; Redis ${redis.words}`,
  );
  await populate(postgres.url);
  const env = { DATABASE_URL: postgres.url, REDIS_URL: redis.url || '' };
  const ours = await startNode(closing, 'lora-store', env);
  const bare = await startNode(closing, 'pg', env);
  await expectSame(ours.url, bare.url);

  const body = JSON.stringify({ candidates: contentIds.slice(0, CANDIDATES) });
  const sides = [
    { words: 'lora-store', url: ours.url, path: '/v1/users/:id/rank' },
    { words: 'pg for each request', url: bare.url, path: '/v1/users/:id/rank' },
    { words: 'no ranking at all: GET /healthz', url: ours.url, path: '/healthz' },
  ];
  /** @type {Load[][]} */
  const loads = sides.map(() => []);
  for (const { url, path } of sides) await load(url, path, body);
  const before = await ours.memory();
  for (let round = 0; round < ROUNDS; round++) {
    for (let i = 0; i < sides.length; i++) {
      const side = (round + i) % sides.length;
      const { url, path } = /** @type {typeof sides[0]} */ (sides[side]);
      loads[side]?.push(await load(url, path, body));
    }
  }
  const after = await ours.memory();
  const hits = after.hits - before.hits;
  const rows = sides.map(({ words }, i) => {
    const of = (/** @type {keyof Load} */ field) => median((loads[i] ?? []).map((load) => load[field]));
    return [words, Math.round(of('perSecond')).toLocaleString('en-US'), of('p50').toFixed(1), of('p99').toFixed(1)];
  });
  table(['', 'per second', 'p50 ms', 'p99 ms'], rows);
  const ratios = (loads[0] ?? []).map(({ perSecond }, round) => perSecond / (loads[1]?.[round]?.perSecond ?? 0));
  say(
    `lora-store / pg: ${median(ratios).toFixed(2)} times as many a second (${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)})`,
    `${((100 * hits) / (hits + after.misses - before.misses)).toFixed(1)} % of the loads found memory`,
  );
} catch (error) {
  if (!closing.begun) {
    console.error(`\nmeasure: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
} finally {
  await closing.close();
}

/** @param {string} postgres */
async function populate(postgres) {
  const storage = await LoRAStorage.open({ postgres, redis: false, memory: false, createMissingUsers: true });
  closing.add(async () => {
    for (let user = 0; user < USERS; user++) await storage.forgetUser(userAt(user));
    await storage.close();
  });
  for (let user = 0; user < USERS; user++) {
    await storage.saveAdapter(new UserLoRAAdapter(userAt(user)).initializeRandom(user));
  }
}

/** Both rank alike, before any clock runs. @param {string} one @param {string} other */
async function expectSame(one, other) {
  const [a, b] = await Promise.all(
    [one, other].map(async (url) => {
      const headers = { 'content-type': 'application/json' };
      const candidates = contentIds.slice(0, CANDIDATES);
      const response = await fetch(new URL(`/v1/users/${userAt(7)}/rank`, url), {
        method: 'POST',
        headers,
        body: JSON.stringify({ candidates }),
      });
      const { ranked, fallback } = /** @type {any} */ (await response.json());
      assert.equal(fallback, null);
      return ranked;
    }),
  );
  assert.equal(a.length, CANDIDATES);
  assert.deepEqual(a, b);
}

/** @param {string} url @param {string} path @param {string} body @returns {Promise<Load>} */
async function load(url, path, body) {
  const program = fileURLToPath(new URL('load.js', import.meta.url));
  const { stdout } = await run(process.execPath, [program, url, path, String(SECONDS), body]);
  return JSON.parse(stdout);
}

/** @param {number[]} values */
function median(values) {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
