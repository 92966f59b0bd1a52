// @ts-check
/**
 * node examples/inference-server/measure/measure.js: rankings per second of this server, with 95 % of its loads in memory,
 * and of the same server reading each adapter with pg, in turns, from autocannon in a process of its own. Prints the table of
 * the README beside. What it saves it takes away again. --rounds, --seconds, --users and --hit-rate for another scale.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { LoRAStorage, UserLoRAAdapter } from 'lora-store';
import { Closing } from '../../servers/closing.js';
import { getPostgres } from '../../servers/postgres.js';
import { say, table } from '../../servers/print.js';
import { getRedis } from '../../servers/redis.js';
import { contentIds } from '../catalogue.js';
import { startNode } from './nodes.js';
import { userAt } from './users.js';

const run = promisify(execFile);
const CANDIDATES = 20;
const NAMESPACE = process.env.LORA_STORE_NAMESPACE || 'lora';
const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    seconds: { type: 'string', default: '4' },
    users: { type: 'string', default: '1000' },
    'hit-rate': { type: 'string', default: '0.95' },
  },
});
const rounds = Number(values.rounds);
const seconds = Number(values.seconds);
const users = Number(values.users);
const hitRate = Number(values['hit-rate']);

/** @typedef {{ perSecond: number, p50: number, p99: number }} Load Latencies in milliseconds. */

const closing = new Closing();
closing.onSignals();
try {
  if (![rounds, seconds, users, hitRate].every((value) => value > 0)) {
    throw new Error('--rounds, --seconds, --users and --hit-rate are numbers above 0');
  }
  const postgres = await getPostgres(closing);
  const redis = await getRedis(closing);
  say(
    `${cpus()[0]?.model}, ${cpus().length} cores; Node ${process.version}; Postgres ${postgres.words}; Redis ${redis.words}`,
  );
  await populate(postgres.url, redis.url);
  const scale = { users, hitRate };
  const env = { DATABASE_URL: postgres.url, REDIS_URL: redis.url || '' };
  const ours = await startNode(closing, 'lora-store', scale, env);
  const bare = await startNode(closing, 'pg', scale, env);
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
  for (let round = 0; round < rounds; round++) {
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
    `${((100 * hits) / (hits + after.misses - before.misses)).toFixed(1)} % of the loads found memory, where ${100 * hitRate} % were to`,
  );
} catch (error) {
  if (!closing.begun) {
    console.error(`\nmeasure: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
} finally {
  await closing.close();
}

/** @param {string} postgres @param {string | false} redis */
async function populate(postgres, redis) {
  const options = { postgres, namespace: NAMESPACE, memory: /** @type {const} */ (false), createMissingUsers: true };
  // Into Postgres alone: what is in Redis the loads have put there.
  const storage = await LoRAStorage.open({ ...options, redis: false });
  closing.add(async () => {
    await storage.close();
    const all = await LoRAStorage.open({ ...options, redis });
    for (let user = 0; user < users; user++) await all.forgetUser(userAt(user));
    await all.close();
  });
  for (let user = 0; user < users; user++) {
    await storage.saveAdapter(new UserLoRAAdapter(userAt(user)).initializeRandom(user));
  }
}

/** Both rank alike, before any clock runs. @param {string} one @param {string} other */
async function expectSame(one, other) {
  const [a, b] = await Promise.all(
    [one, other].map(async (url) => {
      const headers = { 'content-type': 'application/json' };
      const candidates = contentIds.slice(0, CANDIDATES);
      const response = await fetch(new URL(`/v1/users/${userAt(0)}/rank`, url), {
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
  const { stdout } = await run(process.execPath, [program, url, path, String(seconds), String(users), body]);
  return JSON.parse(stdout);
}

/** @param {number[]} values */
function median(values) {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
