/** What other processes of this machine took, as Linux counts it. Undefined where it does not say: no /proc, or a container's. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import pg from 'pg';

export interface Usage {
  readonly cpuMicroseconds: number;
  /** That came from a disk, and not from a cache of the kernel. */
  readonly diskBytes: number;
}

/** Starts; the function it returns says what the server's processes took meanwhile. One that ended in between is not counted. */
export async function postgresUsage(url: string): Promise<() => Promise<Usage | undefined>> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const look = async () => {
    const { rows } = await client.query<{ pid: number }>('select pid from pg_stat_activity');
    return new Map(rows.map(({ pid }) => [pid, usageOf(pid)]));
  };
  const before = await look();
  return async () => {
    const after = await look();
    await client.end();
    let [cpuMicroseconds, diskBytes] = [0, 0];
    for (const [pid, usage] of after) {
      if (usage === undefined) return undefined;
      cpuMicroseconds += usage.cpuMicroseconds - (before.get(pid)?.cpuMicroseconds ?? 0);
      diskBytes += usage.diskBytes - (before.get(pid)?.diskBytes ?? 0);
    }
    return { cpuMicroseconds, diskBytes };
  };
}

let ticks: number | undefined;

function usageOf(pid: number): Usage | undefined {
  try {
    ticks ??= Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // Of a server in a container the number is another process's here.
    if (!/\(postgres/.test(stat)) return undefined;
    // The name, in brackets, may hold anything.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const io = readFileSync(`/proc/${pid}/io`, 'utf8');
    return {
      cpuMicroseconds: ((Number(fields[11]) + Number(fields[12])) * 1e6) / ticks,
      diskBytes: Number(/^read_bytes: (\d+)/m.exec(io)?.[1]),
    };
  } catch {
    return undefined;
  }
}
