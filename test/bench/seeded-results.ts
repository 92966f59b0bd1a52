/**
 * Results as a run would write them, drawn from a seeded generator: for tests of what is made of results. No figure of it
 * was measured, and none goes into a page of the project.
 */

import type {
  CaseResult,
  Curve,
  Distribution,
  Ratio,
  Results,
  SideResult,
  TargetResult,
} from '../../bench/harness/results.js';
import { type Random, seeded } from '../support/random.js';

export function seededResults(seed = 1): Results {
  const random = seeded(seed);
  return {
    format: 1,
    date: '2026-01-02T03:04:05.000Z',
    quick: false,
    seconds: 1260,
    environment: {
      cpu: 'Seeded CPU <tm> @ 2.0 GHz',
      cores: 2,
      memoryBytes: 8e9,
      kernel: '6.1.0',
      node: 'v20.17.0',
      codec: 'native (avx2)',
      servers: { postgres: '15.0, fsync off, shared_buffers 128 MB', redis: '7.0, save ""' },
      versions: { 'lru-cache': '11.0.0', bentocache: '1.6.0' },
      commit: '0123456+',
    },
    cases: [
      memoryCase(random),
      comparison(random, 'redis-hit', {
        loadAdapter: 170,
        'bare getBuffer of ioredis': 160,
        'a client with a name too long for any line of a phone, and its settings': 420,
      }),
      wholeSystem(random),
    ],
    targets: targets(random),
  };
}

/** Two groups, six orders of magnitude between them. */
function memoryCase(random: Random): CaseResult {
  const first = comparison(random, 'memory-hit', {
    peekAdapter: 0.12,
    'bare lru-cache get': 0.06,
    'bare Map get': 0.02,
  });
  const second = comparison(random, 'memory-hit', {
    loadAdapter: 0.3,
    'BentoCache getOrSet': 2.4,
    'cacheable getOrSet': 3.1,
  });
  return {
    ...first,
    sides: [...first.sides, ...second.sides.map((side) => ({ ...side, group: 'awaited' }))],
    ratios: [...first.ratios, ...second.ratios],
  };
}

function comparison(random: Random, name: string, medians: Readonly<Record<string, number>>): CaseResult {
  const sides = Object.entries(medians).map(([side, median]) => sideOf(random, side, median));
  const [judged, ...others] = sides;
  return {
    name,
    question: `What does ${judged?.name} cost beside ${others.length} others?`,
    seconds: 60,
    sides,
    ratios: others.flatMap((other) => (judged ? ratiosOf(random, judged, other) : [])),
    curves: [],
    notes: ['One side copies & the other <shares>: said here, because no figure shows it.'],
  };
}

function wholeSystem(random: Random): CaseResult {
  return {
    ...comparison(random, 'whole-system', { 'loadAdapter, 99 % hits': 12, 'loadAdapter, 50 % hits': 160 }),
    curves: [
      {
        name: 'Latency against throughput',
        x: { label: 'loads per second', scale: 'linear' },
        y: { label: 'p99 in µs', scale: 'log' },
        series: ['50 % hits', '90 % hits', '99 % hits', '99.9 % hits'].map((name, index) => {
          const limit = 8000 * 2 ** index;
          const points = [0.1, 0.3, 0.5, 0.7, 0.85, 0.95].map((load): [number, number] => [
            load * limit,
            ((300 / (index + 1)) * (0.9 + 0.2 * random())) / (1 - load),
          ]);
          return { name, points };
        }),
      },
      growth(random),
      {
        name: 'Memory per cached adapter',
        x: { label: 'entries', scale: 'log' },
        y: { label: 'RSS in bytes', scale: 'linear' },
        series: [
          { name: 'resident', points: [1e3, 5e3, 5e4].map((entries) => [entries, 41_052 * (1 + 0.1 * random())]) },
        ],
      },
    ],
  };
}

/** Two lines that end at one point: their labels have to make room for each other. */
function growth(random: Random): Curve {
  return {
    name: 'Growth',
    x: { label: 'rows', scale: 'log' },
    y: { label: 'p50 in µs', scale: 'linear' },
    series: ['vacuumed', 'never vacuumed'].map((name) => ({
      name,
      points: [1e3, 1e5, 1e6].map((rows) => [rows, 250 + 40 * random()]),
    })),
  };
}

function targets(random: Random): TargetResult[] {
  const why = 'The profile shows 61 % in memcpy: the copy is the work.';
  return [
    { what: 'peekAdapter / lru-cache get', relation: '<=', bound: 3, value: 1 + random(), met: true },
    {
      what: 'loads per second / bare pg',
      relation: '>=',
      bound: 1.7,
      value: 1.25,
      low: 1.2,
      high: 1.4,
      met: false,
      why,
    },
    { what: 'load p99 at 70 % of the highest rate, ms', relation: '<', bound: 2, value: random(), met: true },
    {
      what: 'Postgres load / libpq C client',
      relation: '<=',
      bound: 2,
      value: null,
      met: null,
      why: 'No C compiler here.',
    },
  ];
}

function sideOf(random: Random, name: string, median: number): SideResult {
  const samples = Array.from({ length: 2000 }, () => {
    const tail = random() < 0.02 ? 3 + 4 * random() : 1;
    return median * tail * Math.exp(0.18 * normal(random));
  }).sort((a, b) => a - b);
  const latency = distribution(samples);
  const batched = median < 1 ? { callsPerSample: 64, heapBytes: 1000 * random() } : {};
  return { name, group: 'synchronous', latency, perSecond: 1e6 / latency.mean, ...batched };
}

function distribution(sorted: readonly number[]): Distribution {
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  const counts = new Map<number, number>();
  for (const sample of sorted) {
    const bucket = Math.ceil(Math.log10(sample) * 32);
    counts.set(bucket, (counts.get(bucket) ?? 0) + 1);
  }
  return {
    count: sorted.length,
    mean: sorted.reduce((sum, sample) => sum + sample, 0) / sorted.length,
    min: at(0),
    ...{ p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999) },
    max: at(1),
    buckets: [...counts].map(([bucket, count]) => [10 ** (bucket / 32), count]),
  };
}

function ratiosOf(random: Random, of: SideResult, to: SideResult): Ratio[] {
  return (['p50', 'p99'] as const).map((statistic) => {
    const median = of.latency[statistic] / to.latency[statistic];
    const spread = 0.02 + 0.06 * random();
    return {
      of: of.name,
      to: to.name,
      statistic,
      rounds: 9,
      median,
      low: median * (1 - spread),
      high: median * (1 + spread),
    };
  });
}

function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}
