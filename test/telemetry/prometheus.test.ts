/** lora-store/prometheus: what Prometheus would scrape of real storages, in names, units and counts. */
import { channel } from 'node:diagnostics_channel';
import { Counter, Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { LOAD_FAILURES } from '../../src/storage/outcomes.js';
import { collectMetrics, exposedMetrics } from '../../src/telemetry/prometheus.js';
import { messagesOf } from '../support/messages.js';
import { smallAdapter, useStorage } from '../support/storage.js';
import { waitFor } from '../support/wait.js';
import { useLife } from './life.js';

const bench = useStorage();
const live = useLife(bench);

/** The series of a metric, as `value labels` would be in the text. */
async function series(register: Registry, name: string, suffix = '') {
  const scraped = await register.getSingleMetric(name)?.get();
  const values = (scraped?.values ?? []) as {
    value: number;
    labels: Record<string, string | number>;
    metricName?: string;
  }[];
  return values
    .filter(({ metricName = name }) => metricName === name + suffix)
    .map(({ value, labels }) => ({ value, labels }));
}

async function valuesOf(register: Registry, name: string, labels: Record<string, string>, suffix = '') {
  const found = (await series(register, name, suffix)).filter(({ labels: its }) =>
    Object.entries(labels).every(([label, value]) => its[label] === value),
  );
  return found.map(({ value }) => value);
}

test('every metric of the list has series once all has happened that it tells of, and there is no other', async () => {
  const register = new Registry();
  const node = await live((storage) => collectMetrics(storage, { register }));
  const scraped = await register.getMetricsAsJSON();
  expect(scraped.map(({ name }) => name).sort()).toEqual(exposedMetrics.map(({ name }) => name).sort());
  for (const { name, type, help, values } of scraped as unknown as {
    name: string;
    type: string;
    help: string;
    values: unknown[];
  }[]) {
    const exposed = exposedMetrics.find((metric) => metric.name === name);
    expect({ name, type, help, empty: values.length === 0 }).toEqual({
      name,
      type: exposed?.type,
      help: exposed?.help,
      empty: false,
    });
  }
  // What Prometheus gets is text.
  expect(await register.metrics()).toMatch(/^lora_store_redis_fenced_total \d+$/m);
  await node.close();
});

test('no series has a label, or a value of one, that the list does not know', async () => {
  const register = new Registry();
  await live((storage) => collectMetrics(storage, { register }));
  for (const { name, labels } of exposedMetrics) {
    for (const { labels: its } of await series(register, name)) {
      const { le, ...own } = its;
      const strange = Object.entries(own).filter(([label, value]) => !labels[label]?.includes(String(value)));
      expect([name, strange]).toEqual([name, []]);
    }
  }
});

test('loads and saves are counted by tier and outcome, in seconds, from 1 µs on', async () => {
  const userId = await bench.user();
  const register = new Registry();
  const node = await bench.open({ redis: false });
  collectMetrics(node, { register });
  const [loads, saves] = [messagesOf(node, 'load'), messagesOf(node, 'save')];
  await node.saveAdapter(smallAdapter(userId));
  await node.loadAdapter(userId);
  node.peekAdapter(userId);
  await node.loadAdapter(await bench.user()).catch(() => undefined);
  await node.loadAdapter(userId, 'default', { signal: AbortSignal.abort() }).catch(() => undefined);
  const seconds = (messages: { durationMs: number }[]) =>
    messages.reduce((sum, { durationMs }) => sum + durationMs / 1000, 0);
  const load = 'lora_store_load_duration_seconds';
  expect(await valuesOf(register, load, { tier: 'memory', outcome: 'hit' }, '_count')).toEqual([2]);
  expect(await valuesOf(register, load, { tier: 'postgres', outcome: 'absent' }, '_count')).toEqual([1]);
  expect(await valuesOf(register, load, { tier: 'none', outcome: 'aborted' }, '_count')).toEqual([1]);
  expect(await valuesOf(register, load, { tier: 'memory', outcome: 'hit' }, '_sum')).toEqual([
    seconds(loads.slice(0, 2)),
  ]);
  expect(await valuesOf(register, 'lora_store_save_duration_seconds', {}, '_sum')).toEqual([seconds(saves)]);
  expect(await valuesOf(register, 'lora_store_load_verified_age_seconds', { tier: 'memory' }, '_count')).toEqual([2]);
  const bounds = (await series(register, load, '_bucket')).map(({ labels: { le } }) => le);
  expect(bounds.slice(0, 3)).toEqual([1e-6, 2e-6, 5e-6]);
});

test('failures are there with a zero before there is one', async () => {
  const register = new Registry();
  const node = await bench.open({ redis: false });
  collectMetrics(node, { register });
  const failures = () => series(register, 'lora_store_load_failures_total');
  const labels = ['load', 'load_many'].flatMap((operation) => LOAD_FAILURES.map((outcome) => ({ operation, outcome })));
  expect(await failures()).toEqual(labels.map((each) => ({ value: 0, labels: each })));
  const options = { signal: AbortSignal.abort() };
  await node.loadAdapter(await bench.user(), 'default', options).catch(() => undefined);
  await node.loadAdapters([{ userId: await bench.user() }], options).catch(() => undefined);
  expect((await failures()).filter(({ value }) => value > 0)).toEqual([
    { value: 1, labels: { operation: 'load', outcome: 'aborted' } },
    { value: 1, labels: { operation: 'load_many', outcome: 'aborted' } },
  ]);
});

test('what is sampled is what cacheStats() says, also of the time before it was collected', async () => {
  const userId = await bench.user();
  const register = new Registry();
  const node = await bench.open();
  await node.saveAdapter(smallAdapter(userId));
  await node.loadAdapter(userId);
  collectMetrics(node, { register });
  const { memory, postgres } = node.cacheStats();
  expect(await valuesOf(register, 'lora_store_cache_hits_total', { tier: 'memory' })).toEqual([1]);
  expect(await valuesOf(register, 'lora_store_memory_usage_bytes', {})).toEqual([memory.bytes]);
  expect(await valuesOf(register, 'lora_store_postgres_pool_limit', {})).toEqual([postgres.pool.max]);
  expect(await valuesOf(register, 'lora_store_breaker_state', { tier: 'postgres' })).toEqual([1, 0, 0]);
  // Scraped twice it is the same, and not twice as much.
  expect(await valuesOf(register, 'lora_store_cache_hits_total', { tier: 'memory' })).toEqual([1]);
  // The bus has not heard of itself yet: a zero would be a lie.
  expect(node.cacheStats().bus.lagMs).toBeUndefined();
  expect(await valuesOf(register, 'lora_store_bus_lag_seconds', {})).toEqual([]);
});

test('storages share a registry by labels, and neither counts for the other', async () => {
  const userId = await bench.user();
  const register = new Registry();
  const [a, b] = [await bench.open({ redis: false }), await bench.open({ redis: false })];
  const endings = [
    collectMetrics(a, { register, labels: { storage: 'a' } }),
    collectMetrics(b, { register, labels: { storage: 'b' } }),
  ];
  await a.saveAdapter(smallAdapter(userId));
  await a.loadAdapter(userId);
  await a.loadAdapter(userId);
  await b.loadAdapter(userId);
  const counts = async (storage: string) => ({
    loads: await valuesOf(register, 'lora_store_load_duration_seconds', { storage }, '_count'),
    hits: await valuesOf(register, 'lora_store_cache_hits_total', { storage, tier: 'memory' }),
    saves: await valuesOf(register, 'lora_store_save_duration_seconds', { storage }, '_count'),
  });
  expect(await counts('a')).toEqual({ loads: [2], hits: [2], saves: [1] });
  expect(await counts('b')).toEqual({ loads: [1], hits: [0], saves: [] });

  const twice = () => collectMetrics(b, { register, labels: { storage: 'a' } });
  expect(twice).toThrow('another storage is collected as {"storage":"a"}');
  expect(() => collectMetrics(b, { register })).toThrow('carry the same labels: { storage }');
  collectMetrics(b, { register, prefix: 'other_' })();

  endings[0]?.();
  await a.loadAdapter(userId);
  // Nothing is left of it, or a service that opens one for each of its customers would keep them all.
  for (const { name } of exposedMetrics)
    expect([name, (await series(register, name)).filter(({ labels: { storage } }) => storage === 'a')]).toEqual([
      name,
      [],
    ]);
  expect(await counts('b')).toEqual({ loads: [1], hits: [0], saves: [] });
  twice()();
  endings[1]?.();
  expect(register.getMetricsAsArray()).toEqual([]);
});

test('an end that is called again takes nothing from whoever has these labels now', async () => {
  const register = new Registry();
  const node = await bench.open({ redis: false });
  const end = collectMetrics(node, { register, labels: { storage: 'a' } });
  collectMetrics(node, { register, labels: { storage: 'b' } });
  end();
  collectMetrics(node, { register, labels: { storage: 'a' } });
  end();
  expect(await valuesOf(register, 'lora_store_fallbacks_total', { storage: 'a' })).toEqual([0]);
});

test('a label that a metric has itself is refused: it would be written over, and two storages mixed', async () => {
  const register = new Registry();
  const node = await bench.open({ redis: false });
  expect(() => collectMetrics(node, { register, labels: { tier: 'gold' } })).toThrow(
    new TypeError("label 'tier' is one of the package's own metrics: give it another name"),
  );
  expect(register.getMetricsAsArray()).toEqual([]);
});

test('where a name is taken nothing is collected, and what was there stays', async () => {
  const register = new Registry();
  const node = await bench.open({ redis: false });
  const before = channel('lora-store:save').hasSubscribers;
  const taken = new Counter({ name: 'lora_store_fallbacks_total', help: 'Of somebody else.', registers: [register] });
  expect(() => collectMetrics(node, { register })).toThrow('lora_store_fallbacks_total');
  expect(register.getMetricsAsArray()).toEqual([taken]);
  expect(channel('lora-store:save').hasSubscribers).toBe(before);
  register.removeSingleMetric('lora_store_fallbacks_total');
  collectMetrics(node, { register })();
});

test('a part that is off has no series that says it is down, and one that is on has them', async () => {
  const registers = [new Registry(), new Registry()] as const;
  const [on, off] = [await bench.open(), await bench.open({ redis: false, changeFeed: false })];
  collectMetrics(on, { register: registers[0] });
  collectMetrics(off, { register: registers[1] });
  await waitFor(() => on.cacheStats().bus.connected && on.cacheStats().changeFeed.live);
  for (const name of ['lora_store_bus_connected', 'lora_store_change_feed_live'])
    expect([name, ...(await Promise.all(registers.map((register) => valuesOf(register, name, {}))))]).toEqual([
      name,
      [1],
      [],
    ]);
});

test('durations of outages begin with a zero for each part: the first one has something to increase from', async () => {
  const register = new Registry();
  collectMetrics(await bench.open({ redis: false }), { register, labels: { storage: 'a' } });
  const counts = await series(register, 'lora_store_outage_duration_seconds', '_count');
  expect(counts).toEqual(
    ['redis', 'postgres', 'replica', 'bus', 'change-feed'].map((part) => ({
      value: 0,
      labels: { storage: 'a', part },
    })),
  );
});

test('when it ends, nobody listens any more', async () => {
  const node = await bench.open({ redis: false });
  const listened = () =>
    ['load', 'load-many', 'save', 'corrupt'].map((name) => channel(`lora-store:${name}`).hasSubscribers);
  const before = listened();
  const end = collectMetrics(node, { register: new Registry() });
  expect(listened()).toEqual([true, true, true, true]);
  end();
  end();
  expect(listened()).toEqual(before);
});
