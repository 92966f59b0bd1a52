/**
 * `lora-store/prometheus`: the metrics of a storage in a registry of prom-client, which the caller installs. Several
 * storages share a registry by labels of their own, and none counts what another did.
 */
import { Counter, Gauge, register as globalRegister, Histogram, type Registry } from 'prom-client';
import type { LoRAStorage } from '../storage/lora-storage.js';
import { combinations, follow, isSampled, isTold } from './follow.js';
import type { Labels, Metric, Point } from './metric.js';
import { METRICS, refuseTaken } from './metrics.js';

export interface PrometheusOptions {
  /** Default: the global one. */
  readonly register?: Registry;
  /** Before every name. Default: none. */
  readonly prefix?: string;
  /**
   * On every series, so that storages of one registry can be told apart: the same names for each, other values. None that a
   * metric has itself.
   */
  readonly labels?: Labels;
}

/** A metric as Prometheus sees it. */
export interface ExposedMetric {
  readonly name: string;
  readonly type: Metric['instrument'];
  readonly help: string;
  readonly labels: Readonly<Record<string, readonly string[]>>;
  /** The name in the list, which is also the one in OpenTelemetry. */
  readonly source: string;
}

const UNITS: Readonly<Record<string, string>> = { s: '_seconds', By: '_bytes' };

/** What collectMetrics exposes, for rules and dashboards of one's own. */
export const exposedMetrics: readonly ExposedMetric[] = METRICS.map((metric) => ({
  name: exposedName(metric),
  type: metric.instrument,
  help: metric.description,
  labels: metric.labels ?? {},
  source: metric.name,
}));

/** As the OpenTelemetry Collector would name it for Prometheus; the exporter of OpenTelemetry's SDK for Node leaves out units. */
function exposedName({ name, unit, instrument }: Metric): string {
  return `${name.replaceAll('.', '_')}${UNITS[unit] ?? ''}${instrument === 'counter' ? '_total' : ''}`;
}

/**
 * Begins to collect; returns what ends it, to be called when the storage is closed: of its series none is left then.
 * TypeError where series of two storages could not be told apart.
 */
export function collectMetrics(storage: LoRAStorage, options: PrometheusOptions = {}): () => void {
  const { register = globalRegister, prefix = '', labels = {} } = options;
  refuseTaken(labels);
  const boards = boardsOf.get(register) ?? new Map<string, Board>();
  boardsOf.set(register, boards);
  const board = boards.get(prefix) ?? new Board(register, prefix, Object.keys(labels));
  boards.set(prefix, board);
  const leave = board.join(storage, labels);
  return () => {
    leave();
    if (board.empty && boards.get(prefix) === board) {
      board.close();
      boards.delete(prefix);
    }
  };
}

const boardsOf = new WeakMap<Registry, Map<string, Board>>();

/** The metrics of one registry and prefix, and the storages that share them. */
class Board {
  readonly #register: Registry;
  readonly #prefix: string;
  readonly #labelNames: readonly string[];
  readonly #instruments = new Map<Metric, Counter | Gauge | Histogram>();
  readonly #storages = new Map<object, { readonly storage: LoRAStorage; readonly labels: Labels }>();

  constructor(register: Registry, prefix: string, labelNames: readonly string[]) {
    this.#register = register;
    this.#prefix = prefix;
    this.#labelNames = labelNames;
    try {
      for (const metric of METRICS) this.#instruments.set(metric, this.#create(metric));
    } catch (error) {
      // A name is taken. Those before it would stay, collect nothing, and be in the way next time.
      this.close();
      throw error;
    }
  }

  get empty(): boolean {
    return this.#storages.size === 0;
  }

  join(storage: LoRAStorage, labels: Labels): () => void {
    this.#refuseMixture(labels);
    const membership = { storage, labels };
    this.#storages.set(membership, membership);
    for (const metric of METRICS.filter(isTold)) {
      const instrument = this.#instruments.get(metric);
      // A counter that appears with its first failure has not increased: there was nothing before.
      for (const each of combinations(metric)) {
        if (instrument instanceof Counter) instrument.inc({ ...labels, ...each }, 0);
        else if (metric.fromZero && instrument instanceof Histogram) instrument.zero({ ...labels, ...each });
      }
    }
    const end = follow(storage, (metric, point) => record(this.#instruments.get(metric), point, labels));
    return () => {
      end();
      // Called again, it would take what another with these labels has by now.
      if (this.#storages.delete(membership)) this.#forget(labels);
    };
  }

  close(): void {
    for (const metric of this.#instruments.keys())
      this.#register.removeSingleMetric(this.#prefix + exposedName(metric));
  }

  /** What is sampled goes by itself. */
  #forget(labels: Labels): void {
    for (const metric of METRICS.filter(isTold))
      for (const each of combinations(metric)) this.#instruments.get(metric)?.remove({ ...labels, ...each });
  }

  #refuseMixture(labels: Labels): void {
    const names = Object.keys(labels);
    if (names.length !== this.#labelNames.length || !names.every((name) => this.#labelNames.includes(name)))
      throw new TypeError(`storages of one registry carry the same labels: { ${this.#labelNames.join(', ')} }`);
    const taken = [...this.#storages.values()].some((other) =>
      names.every((name) => other.labels[name] === labels[name]),
    );
    if (taken)
      throw new TypeError(
        `another storage is collected as ${JSON.stringify(labels)}: give each labels of its own, { labels: { storage: 'a' } }, or a prefix`,
      );
  }

  #create(metric: Metric): Counter | Gauge | Histogram {
    const described = {
      name: this.#prefix + exposedName(metric),
      help: metric.description,
      labelNames: [...this.#labelNames, ...Object.keys(metric.labels ?? {})],
      registers: [this.#register],
    };
    if (isTold(metric)) {
      const { buckets } = metric;
      return metric.instrument === 'counter'
        ? new Counter(described)
        : new Histogram({ ...described, ...(buckets && { buckets: [...buckets] }) });
    }
    const Sampler = metric.instrument === 'counter' ? Counter : Gauge;
    const instrument: Counter | Gauge = new Sampler({ ...described, collect: () => this.#sample(metric, instrument) });
    return instrument;
  }

  #sample(metric: Metric, instrument: Counter | Gauge): void {
    if (!isSampled(metric)) return;
    instrument.reset();
    // A reset leaves a zero where there are no labels; what is not known is not there.
    if (this.#labelNames.length === 0 && metric.labels === undefined) instrument.remove();
    for (const { storage, labels } of this.#storages.values())
      for (const point of metric.read(storage.cacheStats()))
        instrument.inc({ ...labels, ...point.labels }, point.value);
  }
}

function record(instrument: Counter | Gauge | Histogram | undefined, { value, labels }: Point, own: Labels): void {
  if (instrument instanceof Histogram) instrument.observe({ ...own, ...labels }, value);
  else instrument?.inc({ ...own, ...labels }, value);
}
