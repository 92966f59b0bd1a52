/**
 * `lora-store/opentelemetry`: the metrics of a storage, and a span for each load that memory did not answer by itself and
 * for each save, through the API of OpenTelemetry, which the caller installs together with an SDK.
 */
import {
  type Counter,
  type Histogram,
  type Meter,
  type MeterProvider,
  metrics,
  type Observable,
  type TracerProvider,
  trace,
} from '@opentelemetry/api';
import type { LoRAStorage } from '../storage/lora-storage.js';
import { combinations, follow, isSampled, isTold } from './follow.js';
import type { Labels, Sampled, Told } from './metric.js';
import { METRICS, refuseTaken } from './metrics.js';
import { traceCalls } from './spans.js';

export interface OpenTelemetryOptions {
  /** Default: the global one, as it is now. */
  readonly meterProvider?: MeterProvider;
  /** Default: the global one. */
  readonly tracerProvider?: TracerProvider;
  /** On every point and span, so that storages of one process can be told apart. None that a metric has itself. */
  readonly attributes?: Labels;
}

const SCOPE = 'lora-store';

/** Begins to observe; returns what ends it, to be called when the storage is closed. TypeError for an attribute that a metric has itself. */
export function instrument(storage: LoRAStorage, options: OpenTelemetryOptions = {}): () => void {
  const { meterProvider = metrics.getMeterProvider(), tracerProvider = trace.getTracerProvider() } = options;
  const { attributes = {} } = options;
  refuseTaken(attributes);
  const meter = meterProvider.getMeter(SCOPE);
  const endings = [
    recordTold(storage, meter, attributes),
    observeSampled(storage, meter, attributes),
    traceCalls(storage, tracerProvider.getTracer(SCOPE), attributes),
  ];
  return () => {
    for (const end of endings) end();
  };
}

function recordTold(storage: LoRAStorage, meter: Meter, own: Labels): () => void {
  const counters = new Map<Told, Counter>();
  const histograms = new Map<Told, Histogram>();
  for (const metric of METRICS.filter(isTold)) {
    const { name, unit, description, buckets } = metric;
    if (metric.instrument === 'histogram') {
      const advice = { ...(buckets && { explicitBucketBoundaries: [...buckets] }) };
      histograms.set(metric, meter.createHistogram(name, { unit, description, advice }));
      continue;
    }
    const counter = meter.createCounter(name, { unit, description });
    counters.set(metric, counter);
    // A counter that appears with its first failure has not increased: there was nothing before.
    for (const labels of combinations(metric)) counter.add(0, { ...own, ...labels });
  }
  return follow(storage, (metric, { value, labels }) => {
    counters.get(metric)?.add(value, { ...own, ...labels });
    histograms.get(metric)?.record(value, { ...own, ...labels });
  });
}

function observeSampled(storage: LoRAStorage, meter: Meter, own: Labels): () => void {
  const observables = new Map(METRICS.filter(isSampled).map((metric) => [metric, observable(meter, metric)]));
  const all = [...observables.values()];
  const observe: Parameters<Meter['addBatchObservableCallback']>[0] = (result) => {
    const stats = storage.cacheStats();
    for (const [metric, instrument] of observables)
      for (const { value, labels } of metric.read(stats)) result.observe(instrument, value, { ...own, ...labels });
  };
  meter.addBatchObservableCallback(observe, all);
  return () => meter.removeBatchObservableCallback(observe, all);
}

function observable(meter: Meter, { name, unit, description, instrument }: Sampled): Observable {
  const options = { unit, description };
  return instrument === 'counter'
    ? meter.createObservableCounter(name, options)
    : meter.createObservableGauge(name, options);
}
