/** What Prometheus itself says of the rules: that it takes them, and which alert fires on what. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { root } from '../../support/root.js';
import { unpackedFromApt } from '../../support/servers/apt.js';

const execute = promisify(execFile);
const rules = join(root, 'examples', 'monitoring', 'rules.json');
const MINUTES = 90;
let directory: string;
let promtool: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'lora-store-rules-'));
  const commandIn = (unpacked: string) => join(unpacked, 'usr', 'bin', 'promtool');
  promtool = commandIn(
    await unpackedFromApt(join(root, '.cache', 'prometheus'), ['prometheus'], async (unpacked) => {
      await execute(commandIn(unpacked), ['--version']);
    }),
  );
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

type Series = Readonly<Record<string, number>>;

/** Of one node, that grow by so much in a minute. */
const GROWING = /_(total|count|bucket)(\{|$)/;

const HEALTHY: Series = {
  'lora_store_load_duration_seconds_count{tier="memory",outcome="hit"}': 6000,
  'lora_store_load_duration_seconds_bucket{tier="memory",outcome="hit",le="0.002"}': 6000,
  'lora_store_load_duration_seconds_bucket{tier="memory",outcome="hit",le="+Inf"}': 6000,
  'lora_store_load_many_duration_seconds_count{outcome="answered"}': 60,
  'lora_store_load_many_duration_seconds_bucket{outcome="answered",le="0.01"}': 60,
  'lora_store_load_many_duration_seconds_bucket{outcome="answered",le="+Inf"}': 60,
  'lora_store_load_failures_total{operation="load",outcome="unavailable"}': 0,
  'lora_store_save_duration_seconds_count{operation="save",outcome="saved"}': 2,
  'lora_store_save_failures_total{operation="save",outcome="unavailable"}': 0,
  // Of a caller who is not the only one to save.
  'lora_store_save_failures_total{operation="save",outcome="conflict"}': 1,
  'lora_store_cache_hits_total{tier="memory"}': 5000,
  'lora_store_cache_misses_total{tier="memory"}': 1000,
  'lora_store_breaker_state{tier="postgres",state="closed"}': 1,
  'lora_store_breaker_state{tier="redis",state="closed"}': 1,
  'lora_store_replicas{state="up"}': 2,
  'lora_store_replicas{state="down"}': 0,
  lora_store_replica_lag_seconds: 0.05,
  lora_store_postgres_pool_waiting: 0,
  lora_store_change_feed_live: 1,
  lora_store_bus_connected: 1,
  lora_store_bus_lag_seconds: 0.001,
};

/** What is different where that alert has to fire, and no other. */
const ILL: Readonly<Record<string, Series>> = {
  LoadsFail: { 'lora_store_load_failures_total{operation="load",outcome="unavailable"}': 100 },
  LoadsOfManyFail: { 'lora_store_load_failures_total{operation="load_many",outcome="timeout"}': 1 },
  Fallbacks: { lora_store_fallbacks_total: 100 },
  LoadsSlow: {
    'lora_store_load_duration_seconds_bucket{tier="memory",outcome="hit",le="0.002"}': 5000,
    'lora_store_load_duration_seconds_bucket{tier="memory",outcome="hit",le="0.5"}': 6000,
  },
  LoadsOfManySlow: {
    'lora_store_load_many_duration_seconds_bucket{outcome="answered",le="0.01"}': 50,
    'lora_store_load_many_duration_seconds_bucket{outcome="answered",le="1"}': 60,
  },
  ServesStale: { 'lora_store_load_duration_seconds_count{tier="memory",outcome="stale"}': 1 },
  ServesManyStale: { 'lora_store_load_many_adapters_total{outcome="stale"}': 1 },
  // Every one of the few there are: loads go on.
  SavesFail: {
    'lora_store_save_duration_seconds_count{operation="save",outcome="saved"}': 0,
    'lora_store_save_duration_seconds_count{operation="save",outcome="unavailable"}': 0.2,
    'lora_store_save_failures_total{operation="save",outcome="unavailable"}': 0.2,
  },
  SaveOutcomeUnknown: { 'lora_store_save_failures_total{outcome="unknown"}': 1 },
  Corrupt: { 'lora_store_corrupt_total{tier="redis"}': 1 },
  PostgresLeftAlone: { 'lora_store_breaker_state{tier="postgres",state="closed"}': 0 },
  ReplicaOutOfRotation: { 'lora_store_replicas{state="up"}': 1, 'lora_store_replicas{state="down"}': 1 },
  ReplicaStandsStill: { lora_store_replica_lag_seconds: 300 },
  RedisLeftAlone: { 'lora_store_breaker_state{tier="redis",state="closed"}': 0 },
  RedisRefuses: { 'lora_store_tier_errors_total{tier="redis"}': 1 },
  PoolExhausted: { lora_store_postgres_pool_waiting: 3 },
  MemoryTooSmall: { lora_store_memory_evictions_total: 10, 'lora_store_cache_hits_total{tier="memory"}': 500 },
  ChangeFeedDown: { lora_store_change_feed_live: 0 },
  BusDown: { lora_store_bus_connected: 0 },
  BusSlow: { lora_store_bus_lag_seconds: 0.5 },
};

/** Rejects with what promtool says where others fire, or none. */
async function fires(name: string | undefined, series: Series): Promise<void> {
  const input = Object.entries({ ...HEALTHY, ...series }).map(([of, value]) => ({
    series: of,
    values: GROWING.test(of) ? `0+${value}x${MINUTES}` : `${value}x${MINUTES}`,
  }));
  const expected = name === undefined ? [] : [{ labels: `{alertname="LoraStore${name}"}`, value: 1 }];
  const asked = { expr: 'count by (alertname) (ALERTS{alertstate="firing"})', eval_time: `${MINUTES}m` };
  const file = join(directory, `${name ?? 'healthy'}.json`);
  const group = { interval: '1m', input_series: input, promql_expr_test: [{ ...asked, exp_samples: expected }] };
  writeFileSync(file, JSON.stringify({ rule_files: [rules], evaluation_interval: '1m', tests: [group] }));
  await execute(promtool, ['test', 'rules', file]).catch(({ stdout, stderr }) => expect.fail(`${stdout}${stderr}`));
}

test('it takes them, and each of them is here', async () => {
  await execute(promtool, ['check', 'rules', rules]);
  const named = [...readFileSync(rules, 'utf8').matchAll(/"alert": "LoraStore(\w+)"/g)].map(([, name]) => name);
  expect(named.sort()).toEqual(Object.keys(ILL).sort());
});

test('a node that is well sets off none', () => fires(undefined, {}));

test.each(Object.entries(ILL))('%s', fires);
