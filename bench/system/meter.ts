/** What this process took over a while: CPU, bytes moved, and how late its event loop ran. */
import { readFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';

export interface Cost {
  /** Of this process, kernel included, all threads. */
  readonly cpuMicroseconds: number;
  /** Read from and written to sockets, and bodies copied to their place in memory; undefined where there is no /proc. */
  readonly copiedBytes?: number;
  /** Microseconds by which timers were late. */
  readonly loopDelay: { readonly p50: number; readonly p99: number; readonly max: number };
}

const RESOLUTION_MS = 1;

/** Starts; the function it returns stops, given how many bodies of how many bytes were decoded meanwhile. */
export function costMeter(): (bodies: number, bodyBytes: number) => Cost {
  const loop = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  loop.enable();
  const movedBefore = movedBytes();
  const cpuBefore = process.cpuUsage();
  return (bodies, bodyBytes) => {
    const { user, system } = process.cpuUsage(cpuBefore);
    const moved = movedBytes();
    loop.disable();
    // The histogram holds whole periods of its timer.
    const late = (nanoseconds: number) => Math.max(0, nanoseconds / 1000 - RESOLUTION_MS * 1000);
    const cost = {
      cpuMicroseconds: user + system,
      loopDelay: { p50: late(loop.percentile(50)), p99: late(loop.percentile(99)), max: late(loop.max) },
    };
    if (moved === undefined || movedBefore === undefined) return cost;
    return { ...cost, copiedBytes: moved - movedBefore + bodies * bodyBytes };
  };
}

/** By read() and write() and their kin, sockets included. */
function movedBytes(): number | undefined {
  try {
    const io = readFileSync('/proc/self/io', 'utf8');
    const field = (name: string) => Number(new RegExp(`^${name}: (\\d+)`, 'm').exec(io)?.[1]);
    return field('rchar') + field('wchar');
  } catch {
    return undefined;
  }
}
