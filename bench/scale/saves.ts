/** Saves a second over users who are there, what they cost, and what the commit that tells of them adds. */
import { decodeAdapter, LoRAStorage, type UserLoRAAdapter } from 'lora-store';
import type pg from 'pg';
import { takingTurns } from '../harness/adapters.js';
import type { Bench } from '../harness/bench.js';
import { withClient } from '../harness/population.js';
import { PATIENCE } from './loads.js';
import { drawn, type Population } from './population.js';
import { type Stretch, stretch, tell } from './stretch.js';
import { postgresUsage } from './usage.js';

const WRITERS = [1, 8, 32] as const;
const MOST = 32;
const DRAWS = 65_536;
const USER_ID_AT = 8;

export interface Saves {
  readonly perSecond: number;
  readonly nodeUs: number;
  readonly postgresUs: number | undefined;
  readonly walBytes: number;
  readonly walPageImages: number;
  readonly queueShare: number;
  /** Without NOTIFY. */
  readonly silentPerSecond: number;
}

export async function measureSaves(bench: Bench, of: Population, seconds: number): Promise<Saves> {
  const storage = await openSaver(of);
  const group = `${of.name}, ${of.users.toLocaleString('en-US')} users: a save, uniform`;
  const side = (name: string, measured: Stretch) => tell(bench, group, name, measured);
  try {
    const save = saverOf(of, storage);
    await stretch(MOST, seconds / 4, save);
    for (const writers of WRITERS.slice(0, -1)) {
      bench.doing(`${group}, ${writers} writers`);
      side(writers === 1 ? '1 writer' : `${writers} writers`, await stretch(writers, seconds, save));
    }
    bench.doing(`${group}, ${MOST} writers`);
    await withClient(of.url, (client) => client.query('checkpoint'));
    const [before, usage] = [await walOf(of.url), await postgresUsage(of.url)];
    const queue = await watchQueue(of.url);
    const told = await stretch(MOST, 2 * seconds, save);
    const queueShare = await queue.stop();
    const [used, after] = [await usage(), await walOf(of.url)];
    const { count } = told.samples;
    side(`${MOST} writers`, told);
    await withClient(of.url, async (client) => {
      await telling(client, 'disable');
      await client.query('checkpoint');
    });
    const silent = await stretch(MOST, seconds, save);
    await withClient(of.url, (client) => telling(client, 'enable'));
    side(`${MOST} writers, no NOTIFY`, silent);
    return {
      perSecond: told.perSecond,
      nodeUs: told.nodeUs,
      postgresUs: used && used.cpuMicroseconds / count,
      walBytes: (after.bytes - before.bytes) / count,
      walPageImages: (after.images - before.images) / count,
      queueShare,
      silentPerSecond: silent.perSecond,
    };
  } finally {
    await storage.close();
  }
}

/** Half of the writers in each of two databases of one server. */
export async function measureBoth(
  bench: Bench,
  populations: readonly [Population, Population],
  seconds: number,
): Promise<number> {
  const storages = [await openSaver(populations[0]), await openSaver(populations[1])] as const;
  try {
    bench.doing('saves in two databases of one server');
    const savers = [saverOf(populations[0], storages[0]), saverOf(populations[1], storages[1])];
    const together = (time: number) => Promise.all(savers.map((save) => stretch(MOST / 2, time, save)));
    await together(seconds / 4);
    const sides = await together(seconds);
    return sides.reduce((sum, { perSecond }) => sum + perSecond, 0);
  } finally {
    for (const storage of storages) await storage.close();
  }
}

/** A commit that does next to nothing but wait for the disk. */
export async function commitUs(of: Population, seconds: number): Promise<number> {
  return await withClient(of.url, async (client) => {
    await client.query('create table probe (i int)');
    const { samples } = await stretch(1, seconds, () => client.query('insert into probe values (1)'));
    await client.query('drop table probe');
    return samples.at(50);
  });
}

export async function openSaver(of: Population): Promise<LoRAStorage> {
  return await LoRAStorage.open({
    postgres: { connectionString: of.url, max: MOST },
    redis: false,
    memory: false,
    postgresTimeoutMs: PATIENCE.postgresTimeoutMs,
  });
}

/** The next version of whoever is drawn. */
function saverOf(of: Population, storage: LoRAStorage): () => Promise<number> {
  return takingTurns(drawn(of.users, 'uniform', DRAWS, 9), (user) => storage.saveAdapter(adapterOf(of, user)));
}

export function adapterOf({ template }: Population, user: string): UserLoRAAdapter {
  const bytes = Buffer.from(template);
  bytes.write(user.replaceAll('-', ''), USER_ID_AT, 16, 'hex');
  return decodeAdapter(bytes);
}

async function walOf(url: string): Promise<{ bytes: number; images: number }> {
  return await withClient(url, async (client) => {
    const { rows } = await client.query<{ bytes: string; images: string }>(
      "select pg_current_wal_lsn() - '0/0' as bytes, (select wal_fpi from pg_stat_wal) as images",
    );
    return { bytes: Number(rows[0]?.bytes), images: Number(rows[0]?.images) };
  });
}

async function telling(client: pg.Client, how: 'enable' | 'disable'): Promise<void> {
  for (const event of ['insert', 'update', 'delete'])
    await client.query(`alter table lora_adapter_heads ${how} trigger lora_adapter_heads_notify_${event}`);
}

/** The highest of many looks while something runs. */
async function watchQueue(url: string): Promise<{ stop(): Promise<number> }> {
  let [highest, watching] = [0, true];
  const done = withClient(url, async (client) => {
    while (watching) {
      const { rows } = await client.query<{ used: number }>(
        'select pg_notification_queue_usage() as used, pg_sleep(0.05)',
      );
      highest = Math.max(highest, Number(rows[0]?.used));
    }
  });
  return {
    async stop() {
      watching = false;
      await done;
      return highest;
    },
  };
}
