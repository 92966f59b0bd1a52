/** The ear on a real Postgres: what it hears of foreign writers, and that its lease ends whenever it may be deaf. */
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { ChangeFeed } from '../../src/coherence/change-feed.js';
import { Coherence, type Horizon } from '../../src/coherence/head.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { endPool } from '../support/pools.js';
import { type FaultProxy, startProxy } from '../support/proxy.js';
import { waitFor } from '../support/wait.js';
import { Notes } from './support.js';

const LEASE = 300;

let database: TestDatabase;
let pool: pg.Pool;
let proxy: FaultProxy;
let open: { feed: ChangeFeed; notes: Notes; coherence: Listened }[];

/** Writes down each horizon that was noted. */
class Listened extends Coherence {
  readonly horizons: Horizon[] = [];

  override listen(horizon: Horizon, era: number, sentAt: number): boolean {
    this.horizons.push(horizon);
    return super.listen(horizon, era, sentAt);
  }
}

beforeAll(async () => {
  database = await createDatabase();
  pool = new pg.Pool({ connectionString: database.url, max: 4 });
});
afterAll(async () => {
  await endPool(pool);
  await database?.drop();
});
beforeEach(async () => {
  open = [];
  proxy = await startProxy(Number(new URL(database.url).port || 5432), new URL(database.url).hostname);
});
afterEach(async () => {
  await Promise.all((open ?? []).map(({ feed }) => feed.close()));
  await proxy?.close();
});

interface Made {
  url?: string;
  maxStalenessMs?: number;
  timeoutMs?: number;
  primary?: () => Promise<number | undefined>;
}

function makeFeed({ url = proxy.url(database.url), maxStalenessMs = LEASE, timeoutMs = 2000, ...more }: Made = {}) {
  const coherence = new Listened({ maxStalenessMs, changeFeed: true });
  const notes = new Notes();
  const feed = new ChangeFeed(
    { connectionString: url },
    coherence,
    { maxStalenessMs, timeoutMs, ...more },
    notes.events,
  );
  open.push({ feed, notes, coherence });
  return { feed, notes, coherence };
}

async function startFeed(options: Made = {}) {
  const made = makeFeed(options);
  await made.feed.start();
  return made;
}

const live = (coherence: Coherence) => coherence.live(performance.now());

async function newUser(): Promise<string> {
  const id = randomUUID();
  await pool.query('insert into users (id) values ($1)', [id]);
  return id;
}

const INSERT = `insert into lora_adapters (user_id, adapter_name, version, weights, size_bytes)
  select $1, name, $3, '\\x00', 1 from unnest($2::varchar[]) name`;

async function revisionOf(userId: string, name = 'default'): Promise<number> {
  const { rows } = await pool.query<{ revision: string }>(
    'select revision from lora_adapter_heads where user_id = $1 and adapter_name = $2',
    [userId, name],
  );
  return Number(rows[0]?.revision);
}

/** Backends that listen for this database's ears. */
async function ears(): Promise<number[]> {
  const { rows } = await pool.query<{ pid: number }>(
    `select pid from pg_stat_activity where datname = current_database() and application_name = 'lora-store change feed'`,
  );
  return rows.map((row) => row.pid);
}

describe('what a writer that is not ours does', () => {
  test.each([
    ['inserts', INSERT, ['default'], 2],
    ['updates', `update lora_adapters set weights = '\\x01' where user_id = $1`],
    ['deletes', 'delete from lora_adapters where user_id = $1'],
    ['deletes the user', 'delete from users where id = $1'],
  ])('is heard with the revision it led to: %s', async (_, sql, ...values) => {
    const userId = await newUser();
    await pool.query(INSERT, [userId, ['default'], 1]);
    const { notes } = await startFeed();
    await pool.query(sql, [userId, ...values]);
    const revision = await revisionOf(userId);
    await waitFor(() => notes.heard.length > 0);
    expect(notes.heard).toEqual([{ userId, adapterName: 'default', revision }]);
  });

  test('a name with quotes, a backslash and letters beyond ASCII arrives as it is', async () => {
    const userId = await newUser();
    const { notes } = await startFeed();
    const name = `"ä\\${'\u{1F600}'}'\n`;
    await pool.query(INSERT, [userId, [name], 1]);
    await waitFor(() => notes.heard.length > 0);
    expect(notes.heard[0]?.adapterName).toBe(name);
  });

  test('more than 100 keys in one statement are one star: the horizon is renewed and what came before it ends', async () => {
    const userId = await newUser();
    const { coherence, notes } = await startFeed();
    const [horizon] = coherence.horizons;
    const reading = { revision: 1, version: 1, server: horizon?.server ?? 0, xid: horizon?.xid ?? 0 };
    const old = { ...reading, verifiedAt: 0, era: 0 };
    expect(coherence.counts(old, performance.now())).toBe(true);
    const names = Array.from({ length: 101 }, (_, i) => `name ${i}`);
    await pool.query(INSERT, [userId, names, 1]);
    await waitFor(() => coherence.horizons.length === 2 && live(coherence));
    expect(coherence.counts(old, performance.now())).toBe(false);
    expect(notes.heard).toEqual([]);
    expect(notes.states).toEqual(['live']);
  });

  test('a message that cannot be read may name any key: it renews the horizon as well', async () => {
    const { coherence } = await startFeed();
    for (const [i, payload] of ['', 'nonsense', '{"u":1}', '{"u":"x","n":"y","r":1.5}', '{'].entries()) {
      await pool.query('select pg_notify($1, $2)', ['lora_store_heads', payload]);
      await waitFor(() => coherence.horizons.length === i + 2 && live(coherence));
    }
  });
});

describe('a lease that nobody prolongs ends', () => {
  test('a healthy ear prolongs it again and again', async () => {
    const { coherence, notes } = await startFeed();
    const until = performance.now() + 3 * LEASE;
    await waitFor(() => {
      expect(live(coherence)).toBe(true);
      return performance.now() > until;
    });
    expect(notes.states).toEqual(['live']);
  });

  test('cut: at once, and a new connection brings a new horizon', async () => {
    const { coherence, notes } = await startFeed();
    const era = coherence.era;
    proxy.cut();
    await waitFor(() => notes.count('lost') === 1);
    expect(live(coherence)).toBe(false);
    const userId = await newUser();
    await pool.query(INSERT, [userId, ['default'], 1]);
    proxy.heal();
    await waitFor(() => live(coherence));
    expect(coherence.era).toBeGreaterThan(era);
    expect(coherence.horizons.at(-1)?.xid).toBeGreaterThan(coherence.horizons[0]?.xid ?? 0);
    await pool.query(INSERT, [userId, ['default'], 2]);
    await waitFor(() => notes.heard.length === 1);
    expect(notes.states).toEqual(['live', 'lost', 'live']);
  });

  test.each(['both', 'answers'] as const)('mute (%s): by itself, and the ear is replaced', async (direction) => {
    // So long a budget that it is the lease and not a statement's time that runs out.
    const { coherence, notes, feed } = await startFeed({ timeoutMs: 60_000 });
    proxy.mute(direction);
    await waitFor(() => !live(coherence));
    await waitFor(() => notes.count('lost') === 1);
    // The next attempt has fallen into the silence as well.
    proxy.cut();
    proxy.heal();
    await waitFor(() => live(coherence));
    expect(notes.states).toEqual(['live', 'lost', 'live']);
    expect(feed.reconnects).toBe(1);
  });

  test('killed by pg_terminate_backend', async () => {
    const { coherence, notes } = await startFeed();
    const [pid] = await ears();
    await pool.query('select pg_terminate_backend($1)', [pid]);
    await waitFor(() => notes.count('lost') === 1);
    await waitFor(() => live(coherence) && notes.count('live') === 2);
    const [other] = await waitFor(async () => {
      const pids = await ears();
      return pids.length === 1 && pids;
    });
    expect(other).not.toBe(pid);
  });

  test('three cuts are three replacements, however often each had to be tried', async () => {
    const { notes, feed, coherence } = await startFeed();
    for (let i = 1; i <= 3; i++) {
      proxy.cut();
      await waitFor(() => notes.count('lost') === i);
      proxy.heal();
      await waitFor(() => notes.count('live') === i + 1);
    }
    expect(live(coherence)).toBe(true);
    expect(feed.reconnects).toBe(3);
  });
});

test('on the channel of the heartbeats only what this node sent proves anything', async () => {
  const { coherence, notes } = await startFeed();
  const channel = await waitFor(async () => {
    const { rows } = await pool.query<{ channel: string }>(
      `select substring(query from 'pg_notify..(lora_store_pulse_[0-9a-f]+)') as channel from pg_stat_activity
       where datname = current_database() and application_name = 'lora-store change feed'`,
    );
    return rows[0]?.channel;
  });
  // Garbage, one from long ago as a connection lost before may still deliver, and one that nobody has sent yet.
  for (const payload of ['x', '1', '1e15']) await pool.query('select pg_notify($1, $2)', [channel, payload]);
  const until = performance.now() + 3 * LEASE;
  await waitFor(() => performance.now() > until);
  expect(live(coherence)).toBe(true);
  expect(notes.states).toEqual(['live']);
  expect(coherence.live(performance.now() + LEASE)).toBe(false);
});

describe('beginning', () => {
  test('start rejects when Postgres is away, and the ear comes by itself when it is back', async () => {
    proxy.cut();
    const { feed, notes, coherence } = makeFeed();
    await expect(feed.start()).rejects.toThrow();
    expect(notes.states).toEqual(['lost']);
    proxy.heal();
    await waitFor(() => live(coherence));
    expect(notes.states).toEqual(['lost', 'live']);
  });

  test('cut between LISTEN and its answer: start rejects and the next attempt is left alone', async () => {
    // start() fails by two ways at once: the connection reports its end, which begins to reconnect, and the statement
    // rejects. The second must not take the new connection for the one that failed.
    const { feed, notes, coherence } = makeFeed();
    proxy.delay(100);
    const started = feed.start().then(
      () => 'started',
      () => 'rejected',
    );
    await waitFor(async () => {
      const { rows } = await pool.query(
        `select from pg_stat_activity where datname = current_database() and query like 'listen lora_store_heads%'`,
      );
      return rows.length === 1;
    });
    proxy.cut();
    proxy.heal();
    expect(await started).toBe('rejected');
    await waitFor(() => live(coherence));
    expect(notes.states).toEqual(['lost', 'live']);
  });

  test('a horizon is noted only by an ear that listens already', async () => {
    // The floors overflow while the ear is still connecting. A horizon noted before LISTEN would vouch for entries
    // that were changed between the two, unheard.
    const { feed, coherence } = makeFeed();
    const started = feed.start();
    coherence.loseHorizon();
    feed.renew();
    await started;
    expect(coherence.horizons.length).toBe(1);
    expect(live(coherence)).toBe(true);
    feed.renew();
    await waitFor(() => coherence.horizons.length === 2);
  });

  test('a gap that opens while the horizon is asked for is not closed by the old answer', async () => {
    const { feed, coherence } = await startFeed();
    coherence.loseHorizon();
    feed.renew();
    coherence.loseHorizon();
    feed.renew();
    expect(live(coherence)).toBe(false);
    await waitFor(() => live(coherence));
    expect(coherence.horizons.length).toBe(3);
  });
});

describe('another server than the one that it listens to', () => {
  const ELSEWHERE = 1;

  test('answers as the primary: the ear is given up, and not taken again until that is over', async () => {
    let primary: number | undefined;
    const { coherence, notes } = await startFeed({ primary: async () => primary });
    const { hears } = coherence;
    coherence.answered(ELSEWHERE);
    expect(live(coherence)).toBe(false);
    await waitFor(() => notes.count('lost') === 1);
    expect(notes.causes[0]?.message).toMatch(/another server than the one that answers as the primary/);
    // It is tried again and again; nobody says who the primary is.
    await waitFor(() => coherence.horizons.length === 1 && live(coherence) === false);
    primary = hears;
    await waitFor(() => live(coherence));
    expect(notes.states).toEqual(['live', 'lost', 'live']);
  });

  test('answered last, before both moved: the primary is asked who it is, and the ear listens', async () => {
    const { coherence: other } = await startFeed();
    const { feed, coherence, notes } = makeFeed({ primary: async () => other.hears });
    coherence.answered(ELSEWHERE);
    await feed.start();
    expect([live(coherence), notes.states]).toEqual([true, ['live']]);
  });
});

describe('close', () => {
  test('leaves no connection and no timer, and says nothing', async () => {
    const { feed, notes } = await startFeed();
    await feed.close();
    await feed.close();
    await waitFor(async () => (await ears()).length === 0);
    await waitFor(() => proxy.connections === 0);
    feed.renew();
    expect(notes.states).toEqual(['live']);
  });

  test('of a mute ear ends soon', async () => {
    const { feed } = await startFeed({ timeoutMs: 60_000, maxStalenessMs: 60_000 });
    proxy.mute();
    await feed.close();
    await waitFor(() => proxy.connections === 0);
  });

  test('while it connects to a server that does not answer ends soon, and start with it', async () => {
    proxy.mute();
    const { feed } = makeFeed({ timeoutMs: 30_000 });
    const started = feed.start().then(
      () => 'started',
      () => 'rejected',
    );
    await waitFor(() => proxy.connections === 1);
    await feed.close();
    expect(await started).toBe('rejected');
    await waitFor(() => proxy.connections === 0);
  });

  test('between two attempts to reconnect: nothing is attempted any more', async () => {
    const { feed, notes } = await startFeed({ timeoutMs: 30_000 });
    proxy.cut();
    await waitFor(() => notes.count('lost') === 1);
    const { reconnects } = feed;
    await feed.close();
    proxy.heal();
    await waitFor(async () => (await ears()).length === 0);
    expect(feed.reconnects).toBe(reconnects);
    expect(proxy.connections).toBe(0);
  });
});

test('on a line slower than its ticks it asks one thing at a time, as pg means to demand, and stays live', async () => {
  const query = vi.spyOn(pg.Client.prototype, 'query');
  const { feed, coherence } = await startFeed({ maxStalenessMs: 3000 });
  const [ear] = query.mock.contexts as (pg.Client & { _queryQueue: unknown[] })[];
  let waiting = 0;
  proxy.delay(1100);
  const slow = performance.now();
  await waitFor(() => {
    waiting = Math.max(waiting, ear?._queryQueue.length ?? 1);
    return performance.now() - slow > 5000;
  });
  query.mockRestore();
  expect(waiting).toBe(0);
  expect(live(coherence)).toBe(true);
  expect(feed.reconnects).toBe(0);
});
