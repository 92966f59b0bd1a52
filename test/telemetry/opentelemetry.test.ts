/** lora-store/opentelemetry with OpenTelemetry's own SDK: the list as instruments, and spans of what asked more than memory. */
import { context, SpanKind, SpanStatusCode } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { SAVE_FAILURES } from '../../src/storage/outcomes.js';
import { METRICS } from '../../src/telemetry/metrics.js';
import { instrument } from '../../src/telemetry/opentelemetry.js';
import { proxyTo } from '../storage/faults/support.js';
import { messagesOf } from '../support/messages.js';
import { smallAdapter, useStorage } from '../support/storage.js';
import { waitFor } from '../support/wait.js';
import { useLife } from './life.js';

const bench = useStorage();
const live = useLife(bench);

beforeAll(() => void context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable()));
afterAll(() => context.disable());

function sdk() {
  const exporter = new InMemorySpanExporter();
  const tracerProvider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
  // Cumulative, as for Prometheus; it exports when it is asked to.
  const metricExporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({ exporter: metricExporter, exportIntervalMillis: 3_600_000 });
  const meterProvider = new MeterProvider({ readers: [reader] });
  onTestFinished(() => meterProvider.shutdown());
  const metrics = async () => {
    const { resourceMetrics, errors } = await reader.collect();
    expect(errors).toEqual([]);
    return resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics);
  };
  return {
    providers: { tracerProvider, meterProvider },
    tracer: tracerProvider.getTracer('test'),
    metrics,
    async points(name: string) {
      const metric = (await metrics()).find(({ descriptor }) => descriptor.name === name);
      return (metric?.dataPoints ?? []).map(({ attributes, value }) => ({ attributes, value }));
    },
    /** Those of the package. */
    spans: () => exporter.getFinishedSpans().filter(({ instrumentationScope: { name } }) => name === 'lora-store'),
  };
}

async function saved(): Promise<string> {
  const userId = await bench.user();
  const saver = await bench.open({ redis: false });
  await saver.saveAdapter(smallAdapter(userId));
  await saver.close();
  return userId;
}

test('every metric of the list is exported once all has happened that it tells of, and no other', async () => {
  const { providers, metrics } = sdk();
  await live((storage) => instrument(storage, providers));
  const exported = await metrics();
  const described = exported.map(({ descriptor: { name, unit, description } }) => ({ name, unit, description }));
  const listed = METRICS.map(({ name, unit, description }) => ({ name, unit, description }));
  const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1);
  expect(described.sort(byName)).toEqual(listed.sort(byName));
  expect(exported.filter(({ dataPoints }) => dataPoints.length === 0)).toEqual([]);
});

test('loads are a histogram in seconds down to 1 µs, by tier and outcome', async () => {
  const userId = await saved();
  const { providers, points } = sdk();
  const node = await bench.open({ redis: false });
  instrument(node, providers);
  const messages = messagesOf(node, 'load');
  await node.loadAdapter(userId);
  await node.loadAdapter(userId);
  node.peekAdapter(userId);
  const [miss, hits, ...others] = await points('lora_store.load.duration');
  expect(others).toEqual([]);
  expect(miss).toMatchObject({ attributes: { tier: 'postgres', outcome: 'hit' }, value: { count: 1 } });
  expect(hits).toMatchObject({ attributes: { tier: 'memory', outcome: 'hit' }, value: { count: 2 } });
  const { sum, buckets } = (hits as { value: unknown }).value as { sum: number; buckets: { boundaries: number[] } };
  expect(sum).toBeCloseTo(
    messages.slice(1).reduce((total, { durationMs }) => total + durationMs / 1000, 0),
    12,
  );
  expect(buckets.boundaries.slice(0, 3)).toEqual([1e-6, 2e-6, 5e-6]);
});

test('failures are there with a zero before there is one, and what is sampled counts since open()', async () => {
  const userId = await saved();
  const { providers, points } = sdk();
  const node = await bench.open({ redis: false });
  await node.loadAdapter(userId);
  await node.loadAdapter(userId);
  instrument(node, providers);
  const failures = async () => (await points('lora_store.save.failures')).map(({ value }) => value);
  expect(await failures()).toEqual(new Array(2 * SAVE_FAILURES.length).fill(0));
  await node.saveAdapter(smallAdapter(userId), 'default', { expectedVersion: 7 }).catch(() => undefined);
  expect((await failures()).filter((value) => value === 1)).toEqual([1]);
  expect((await points('lora_store.cache.hits'))[0]).toEqual({ attributes: { tier: 'memory' }, value: 1 });
});

test('storages of one meter are told apart by attributes, and neither counts for the other', async () => {
  const userId = await saved();
  const { providers, points, spans } = sdk();
  const [a, b] = [await bench.open({ redis: false }), await bench.open({ redis: false })];
  const end = instrument(a, { ...providers, attributes: { storage: 'a' } });
  instrument(b, { ...providers, attributes: { storage: 'b' } });
  await a.loadAdapter(userId);
  await a.loadAdapter(userId);
  await b.loadAdapter(userId);
  const counts = async () =>
    (await points('lora_store.load.duration')).map(({ attributes: { storage, tier }, value }) => [
      storage,
      tier,
      (value as { count: number }).count,
    ]);
  const before = [
    ['a', 'postgres', 1],
    ['a', 'memory', 1],
    ['b', 'postgres', 1],
  ];
  expect(await counts()).toEqual(before);
  const hits = (await points('lora_store.cache.hits')).filter(({ attributes: { tier } }) => tier === 'memory');
  expect(hits.map(({ attributes: { storage }, value }) => [storage, value])).toEqual([
    ['a', 1],
    ['b', 0],
  ]);
  expect(spans().map(({ attributes: { storage } }) => storage)).toEqual(['a', 'b']);

  end();
  await a.loadAdapter(userId);
  await a.loadAdapterVersion(await saved(), 'default', 1);
  expect(await counts()).toEqual(before);
  expect(spans().length).toBe(2);
});

test('a load that Postgres answered is a span of its caller, dated back to its beginning; a hit in memory is none', async () => {
  const userId = await saved();
  const { providers, tracer, spans } = sdk();
  const node = await bench.open({ redis: false });
  instrument(node, providers);
  const messages = messagesOf(node, 'load');
  // Two who share one flight, each in a trace of his own.
  const request = (name: string) =>
    tracer.startActiveSpan(name, async (parent) => {
      await node.loadAdapter(userId);
      await node.loadAdapter(userId);
      node.peekAdapter(userId);
      parent.end();
      return parent.spanContext();
    });
  const parents = await Promise.all([request('a'), request('b')]);
  expect(node.cacheStats()).toMatchObject({ coalesced: 1, memory: { hits: 4 } });
  expect(
    spans()
      .map(({ parentSpanContext }) => parentSpanContext?.spanId)
      .sort(),
  ).toEqual(parents.map(({ spanId }) => spanId).sort());
  const [span] = spans();
  expect(span).toMatchObject({
    name: 'load lora_adapters',
    kind: SpanKind.CLIENT,
    status: { code: SpanStatusCode.UNSET },
    attributes: {
      'db.system.name': 'postgresql',
      'db.collection.name': 'lora_adapters',
      'db.operation.name': 'load',
      'lora_store.adapter_name': 'default',
      'lora_store.outcome': 'hit',
      'lora_store.tier': 'postgres',
      'lora_store.version': 1,
    },
  });
  const [seconds = 0, nanoseconds = 0] = span?.duration ?? [];
  expect(seconds * 1000 + nanoseconds / 1e6).toBeCloseTo(messages[0]?.durationMs ?? 0, 2);
  expect(JSON.stringify(spans().map(({ attributes, status }) => ({ attributes, status })))).not.toContain(userId);
});

test('what Redis answered, a call for many and saves are spans, too', async () => {
  const userId = await bench.user();
  const { providers, spans } = sdk();
  const node = await bench.open({ memory: false });
  instrument(node, providers);
  await node.saveAdapter(smallAdapter(userId));
  await waitFor(() => node.cacheStats().bus.published === 1);
  await node.loadAdapter(userId);
  await node.loadAdapters([{ userId }, { userId }]);
  await node.rollbackAdapter(userId, 'default', 1);
  const [save, load, many, rollback] = spans();
  expect(save).toMatchObject({
    name: 'save lora_adapters',
    attributes: { 'db.system.name': 'postgresql', 'lora_store.outcome': 'saved', 'lora_store.version': 1 },
  });
  expect(load).toMatchObject({ name: 'load lora_adapters', attributes: { 'db.system.name': 'redis' } });
  expect(load?.attributes).not.toHaveProperty('db.collection.name');
  expect(many).toMatchObject({
    name: 'load_many lora_adapters',
    attributes: { 'db.operation.batch.size': 2, 'lora_store.outcome': 'answered' },
  });
  expect(rollback).toMatchObject({ name: 'rollback lora_adapters', attributes: { 'lora_store.version': 2 } });
});

test('a failure is an error with its code; that there is none, or that the caller has left, is not', async () => {
  const userId = await saved();
  const proxy = await proxyTo(bench.postgresUrl);
  const { providers, spans } = sdk();
  const node = await bench.open({ postgres: proxy.url(bench.postgresUrl), redis: false, changeFeed: false });
  instrument(node, providers);
  await node.loadAdapter(await bench.user()).catch(() => undefined);
  await node.loadAdapter(userId, 'default', { signal: AbortSignal.abort() }).catch(() => undefined);
  proxy.cut();
  await node.loadAdapter(userId).catch(() => undefined);
  await node.saveAdapter(smallAdapter(userId)).catch(() => undefined);
  const ends = spans().map(({ status, attributes }) => [
    attributes['lora_store.outcome'],
    status.code,
    attributes['error.type'],
  ]);
  expect(ends).toEqual([
    ['absent', SpanStatusCode.UNSET, undefined],
    ['aborted', SpanStatusCode.UNSET, undefined],
    ['unavailable', SpanStatusCode.ERROR, 'STORAGE_UNAVAILABLE'],
    ['unavailable', SpanStatusCode.ERROR, 'STORAGE_UNAVAILABLE'],
  ]);
  await node.close();
  await proxy.close();
});

test('an attribute that a metric has itself is refused', async () => {
  const { providers, metrics } = sdk();
  const node = await bench.open({ redis: false });
  expect(() => instrument(node, { ...providers, attributes: { outcome: 'x' } })).toThrow(
    new TypeError("label 'outcome' is one of the package's own metrics: give it another name"),
  );
  expect(await metrics()).toEqual([]);
});

test('without an SDK it breaks nothing', async () => {
  const userId = await saved();
  const node = await bench.open({ redis: false });
  const end = instrument(node);
  expect((await node.loadAdapter(userId)).userId).toBe(userId);
  end();
});
