/** The rules and the dashboard are what their generator makes, and ask for nothing that a real storage does not emit. */
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { LOAD_FAILURES, SAVE_FAILURES } from '../../../src/storage/outcomes.js';
import { collectMetrics, exposedMetrics } from '../../../src/telemetry/prometheus.js';
import { root } from '../../support/root.js';
import { useStorage } from '../../support/storage.js';
import { useLife } from '../../telemetry/life.js';

const bench = useStorage();
const live = useLife(bench);
const directory = join(root, 'examples', 'monitoring');

/** Every expression in a file, wherever it stands. */
function expressionsIn(file: string): string[] {
  const found: string[] = [];
  JSON.parse(readFileSync(join(directory, file), 'utf8'), (key, value) => {
    if (key === 'expr' || key === 'definition') found.push(value);
    return value;
  });
  return found;
}

const expressions = [...expressionsIn('rules.json'), ...expressionsIn('dashboard.json')];

/** A name as it is scraped, with the selector behind it. */
const MENTION = /\b(lora_store_\w+)(?:\{([^}]*)\})?/g;

test('npm run monitoring writes what is committed', async () => {
  // Below the project: the example imports the package by name.
  mkdirSync(join(root, '.cache'), { recursive: true });
  const copy = mkdtempSync(join(root, '.cache', 'monitoring-'));
  try {
    cpSync(directory, copy, { recursive: true, filter: (path) => !path.endsWith('.json') });
    await promisify(execFile)(process.execPath, [join(copy, 'generate.js')]);
    for (const file of ['rules.json', 'dashboard.json']) {
      expect(readFileSync(join(directory, file), 'utf8')).toBe(readFileSync(join(copy, file), 'utf8'));
    }
  } finally {
    rmSync(copy, { recursive: true });
  }
});

test('whatever they ask for, a storage that has loaded, saved and lost a tier has emitted', async () => {
  const register = new Registry();
  const node = await live((storage) => collectMetrics(storage, { register }));
  const scraped = new Set(
    (await register.metrics())
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => line.split(/[{ ]/)[0] ?? ''),
  );
  const asked = expressions.flatMap((expr) => [...expr.matchAll(MENTION)].map(([, name = '']) => name));
  expect(asked.length).toBeGreaterThan(exposedMetrics.length);
  expect([...new Set(asked)].filter((name) => !scraped.has(name))).toEqual([]);
  await node.close();
});

test('their selectors know the labels of the list, and the values', () => {
  const strange = expressions.flatMap((expr) =>
    [...expr.matchAll(MENTION)].flatMap(([mention, name = '', selector = '']) => {
      const { labels = {} } = exposedMetrics.find((metric) => name.startsWith(metric.name)) ?? {};
      const conditions = [...selector.matchAll(/(\w+)(?:=~|!=|=)"([^"]*)"/g)];
      return conditions
        .filter(([, label = '']) => label !== 'job' && label !== 'instance')
        .flatMap(([, label = '', values = '']) => values.split('|').map((value) => ({ label, value })))
        .filter(({ label, value }) => value !== '' && !labels[label]?.includes(value))
        .map(({ label, value }) => `${mention}: no ${label} is ${value}`);
    }),
  );
  expect(strange).toEqual([]);
});

test('every metric of the list is drawn', () => {
  const drawn = expressionsIn('dashboard.json').join('\n');
  const missing = exposedMetrics.filter(({ name }) => !new RegExp(`\\b${name}(_bucket|_count|_sum)?\\b`).test(drawn));
  expect(missing.map(({ name }) => name)).toEqual([]);
});

test('whatever a load or a save may fail of, but for what a caller does, is a failure to the alerts; stale, slow and fallbacks of each kind have one', () => {
  const { groups } = JSON.parse(readFileSync(join(directory, 'rules.json'), 'utf8')) as {
    groups: { rules: { alert: string; expr: string }[] }[];
  };
  const rules = groups.flatMap(({ rules }) => rules);
  const failing = rules.filter(({ alert }) => /^LoraStoreLoads(OfMany)?Fail$/.test(alert));
  const outcomes = failing.map(({ expr }) => /outcome=~"([^"]*)"/.exec(expr)?.[1]?.split('|').sort());
  const theirs = LOAD_FAILURES.filter((outcome) => outcome !== 'aborted').sort();
  expect(outcomes).toEqual([theirs, theirs]);
  const saves = rules.find(({ alert }) => alert === 'LoraStoreSavesFail')?.expr ?? '';
  const callers = ['conflict', 'no_user', 'absent'];
  expect(/outcome=~"([^"]*)"/.exec(saves)?.[1]?.split('|')).toEqual(
    SAVE_FAILURES.filter((outcome) => outcome !== 'unknown' && !callers.includes(outcome)),
  );
  const needed = [
    'lora_store_save_failures_total{outcome="unknown"}',
    'lora_store_replica_lag_seconds',
    'lora_store_fallbacks_total',
    'lora_store_load_duration_seconds_count{outcome="stale"}',
    'lora_store_load_many_adapters_total{outcome="stale"}',
    'lora_store_load_duration_seconds_bucket',
    'lora_store_load_many_duration_seconds_bucket',
    'lora_store_tier_errors_total{tier="redis"}',
  ];
  expect(needed.filter((series) => !rules.some(({ expr }) => expr.includes(series)))).toEqual([]);
});
