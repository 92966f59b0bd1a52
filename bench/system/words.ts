/** What stretches of requests say, for curves and notes. */
import type { Curve } from '../harness/results.js';
import type { Stretch } from './node.js';

const PERCENTILES = ['p50', 'p90', 'p99', 'p999'] as const;

export function completedPerSecond({ completed, seconds }: Stretch): number {
  return completed / seconds;
}

/** Of loads, over something that was varied. */
export function latencyCurve(name: string, x: string, points: readonly (readonly [number, Stretch])[]): Curve {
  return {
    name,
    x: { label: x, scale: 'log' },
    y: { label: 'µs', scale: 'log' },
    series: PERCENTILES.map((percentile) => ({
      name: percentile === 'p999' ? 'p99.9' : percentile,
      points: points.flatMap(([at, { latency }]) => (latency.load ? [[at, latency.load[percentile]] as const] : [])),
    })),
  };
}

export function delay({ cost: { loopDelay } }: Stretch): string {
  const milliseconds = (microseconds: number) => (microseconds / 1000).toFixed(1);
  return `event-loop delay p99 ${milliseconds(loopDelay.p99)} ms, at most ${milliseconds(loopDelay.max)} ms`;
}
