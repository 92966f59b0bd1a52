/** Callers who ask again when they were answered, for so many seconds; what each call took, and what it cost this process. */
import type { Bench } from '../harness/bench.js';
import { Samples } from '../harness/samples.js';

export interface Stretch {
  readonly samples: Samples;
  readonly perSecond: number;
  /** CPU of this process by call. */
  readonly nodeUs: number;
}

export async function stretch(callers: number, seconds: number, call: () => Promise<unknown>): Promise<Stretch> {
  const samples = new Samples();
  const cpu = process.cpuUsage();
  const began = performance.now();
  const end = began + 1000 * seconds;
  const caller = async () => {
    while (performance.now() < end) {
      const before = performance.now();
      await call();
      samples.add(1000 * (performance.now() - before));
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  const { user, system } = process.cpuUsage(cpu);
  return {
    samples,
    perSecond: (1000 * samples.count) / (performance.now() - began),
    nodeUs: (user + system) / samples.count,
  };
}

export function tell(bench: Bench, group: string, name: string, { samples, perSecond }: Stretch): void {
  bench.side({ group, name, latency: samples.distribution(), perSecond });
}
