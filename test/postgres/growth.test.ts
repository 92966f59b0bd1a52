/** A pool that Postgres gives no further connection: its calls share those it has, and it asks for more now and then. */
import { Socket } from 'node:net';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { StorageOverloadedError } from '../../src/errors.js';
import { Database, statement } from '../../src/postgres/database.js';
import { BusyPoolError } from '../../src/postgres/failure.js';
import { endPool } from '../support/pools.js';
import { type OwnServer, startPostgres } from '../support/postgres.js';
import { waitFor } from '../support/wait.js';

const ONE = statement('one', 'select 1::int4');
const PID = statement('pid', 'select pg_backend_pid()');

let server: OwnServer;
let admin: pg.Pool;
let db: Database;
/** Ends the calls of busy(), also after a test that failed. */
const held: (() => void)[] = [];
/** Connections that were begun. */
let attempts: number;

beforeAll(async () => {
  server = await startPostgres();
  admin = new pg.Pool({ connectionString: server.url, max: 2 });
  await admin.query(`create role few login password 'few'`);
});
afterAll(async () => {
  await endPool(admin);
  await server?.stop();
});
afterEach(async () => {
  for (const release of held.splice(0)) release();
  await db?.close();
  // Its sessions end after its sockets, and count until then.
  await waitFor(async () => (await sessions()) === 0);
});

/** Beyond that it answers 53300, as where max_connections is reached. */
const allow = (connections: number) => admin.query(`alter role few connection limit ${connections}`);

async function sessions(): Promise<number> {
  return (await admin.query(`select from pg_stat_activity where usename = 'few'`)).rows.length;
}

function open(limits: { timeoutMs?: number; maxQueue?: number } = {}): void {
  const url = new URL(server.url);
  url.username = 'few';
  url.password = 'few';
  const stream = () => {
    attempts++;
    return new Socket();
  };
  const source = { connectionString: url.toString(), max: 10, stream };
  db = new Database(source, { timeoutMs: 10_000, maxQueue: 100, ...limits });
  // What reads the settings makes a client, too, which connects to nothing.
  attempts = 0;
}

const eight = () => Promise.allSettled(Array.from({ length: 8 }, () => db.rows(ONE, [])));
const answered = (calls: PromiseSettledResult<unknown>[]) =>
  calls.filter(({ status }) => status === 'fulfilled').length;

/** A call that has the only connection until `done` is called. */
async function busy(): Promise<() => Promise<void>> {
  let done = (): void => undefined;
  const until = new Promise<void>((resolve) => {
    done = resolve;
  });
  held.push(done);
  let begun = false;
  const working = db.transaction(async () => {
    begun = true;
    await until;
  });
  // Its time may be up.
  const over = working.catch(() => undefined);
  await waitFor(() => begun);
  return async () => {
    done();
    await over;
  };
}

test('calls wait for the one there is, and do not each ask for another', async () => {
  await allow(1);
  open();
  await db.rows(ONE, []);
  expect(answered(await eight())).toBe(8);
  // Those that found it taken, before the first of them was refused, and one that took the place of that one.
  expect(attempts).toBeGreaterThan(1);
  expect(attempts).toBeLessThanOrEqual(1 + 8);
  const before = attempts;
  for (let burst = 0; burst < 10; burst++) expect(answered(await eight())).toBe(8);
  // One a second at most, and one for a call that meets it.
  expect(attempts - before).toBeLessThan(10);
  expect(db.pool).toMatchObject({ size: 1, max: 10, waiting: 0 });
});

test('who waits gets a connection of his own as soon as Postgres has one, though nobody gives his back', async () => {
  await allow(1);
  open();
  const done = await busy();
  const waiting = db.rows<[number]>(PID, []);
  await waitFor(() => db.pool.waiting === 1);
  await allow(5);
  expect(await waiting).toHaveLength(1);
  await done();
});

test('it grows to its size again, one granted after the other', async () => {
  await allow(1);
  open();
  const done = await busy();
  const waiting = eight();
  await waitFor(() => db.pool.waiting === 8);
  await allow(-1);
  expect(answered(await waiting)).toBe(8);
  await done();
  const ends = await Promise.all(Array.from({ length: 10 }, busy));
  expect(db.pool).toMatchObject({ size: 10, max: 10, idle: 0 });
  await Promise.all(ends.map((end) => end()));
});

test('who waits in vain hears why there is only one, and that is no word of an outage', async () => {
  await allow(1);
  open({ timeoutMs: 1500 });
  const done = await busy();
  const error = await db.rows(ONE, []).catch((reason) => reason);
  expect(error).toBeInstanceOf(BusyPoolError);
  expect(error).toMatchObject({
    sent: false,
    message: expect.stringContaining('it has no connection left; raise max_connections'),
    cause: { code: '53300' },
  });
  await done();
});

test('a full queue refuses what was refused', async () => {
  await allow(1);
  open({ maxQueue: 0 });
  const done = await busy();
  await expect(db.rows(ONE, [])).rejects.toBeInstanceOf(StorageOverloadedError);
  await done();
});

test('one that is lost is replaced, and where it cannot be there is nothing to wait for', async () => {
  await allow(1);
  open();
  await db.rows(ONE, []);
  await eight();
  const [[pid] = [0]] = await db.rows<[number]>(PID, []);
  await admin.query('select pg_terminate_backend($1)', [pid]);
  await waitFor(async () => (await db.read<[number]>(PID, []))[0]?.[0] !== pid);
  await allow(0);
  await admin.query(`select pg_terminate_backend(pid) from pg_stat_activity where usename = 'few'`);
  await waitFor(() => db.pool.size === 0);
  const failure = await db.rows(ONE, []).catch((error) => error);
  expect(failure).toMatchObject({ name: 'UnreachableError', message: expect.stringContaining('no connection left') });
  await allow(-1);
  const [one, two] = [await busy(), await busy()];
  await Promise.all([one(), two()]);
});
