/** The pool when Postgres is slow, silent, full, gone or not to be entered: each call ends in time with a sentence that helps. */
import { type AddressInfo, createServer, Socket } from 'node:net';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { StorageOverloadedError } from '../../src/errors.js';
import { Database, statement } from '../../src/postgres/database.js';
import { BusyPoolError, UnreachableError } from '../../src/postgres/failure.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { endPool } from '../support/pools.js';
import { type FaultProxy, startProxy } from '../support/proxy.js';
import { waitFor } from '../support/wait.js';

let database: TestDatabase;
let admin: pg.Pool;
let proxy: FaultProxy;
const opened: Database[] = [];

beforeAll(async () => {
  database = await createDatabase({ template: 'empty' });
  admin = new pg.Pool({ connectionString: database.url, max: 4 });
});
afterAll(async () => {
  await admin?.end();
  await database?.drop();
});
beforeEach(async () => {
  const { port, hostname } = new URL(database.url);
  proxy = await startProxy(Number(port || 5432), hostname);
});
afterEach(async () => {
  releaseLock();
  await Promise.all(opened.splice(0).map((db) => db.close()));
  await proxy?.close();
});

function open(source: string | pg.PoolConfig | pg.Pool = database.url, timeoutMs = 10_000, maxQueue = 100): Database {
  const db = new Database(source, { timeoutMs, maxQueue });
  opened.push(db);
  return db;
}

const through = () => proxy.url(database.url);
const ONE = statement('one', 'select 1::int4');
const PID = statement('pid', 'select pg_backend_pid()');
/** Waits for whoever holds lock 7 of this database, then says which backend it ran on. */
const WAIT = statement('wait', 'select pg_backend_pid() from (select pg_advisory_xact_lock_shared(7)) as waited');

/** Given back after the test, also after one that failed: nobody is left waiting. */
let holder: pg.PoolClient | undefined;

async function holdLock(): Promise<() => void> {
  holder = await admin.connect();
  await holder.query('select pg_advisory_lock(7)');
  return releaseLock;
}

/** The lock ends with its session. */
function releaseLock(): void {
  holder?.release(true);
  holder = undefined;
}

/** Backend that waits for lock 7, other than `known`. */
const waiter = (known?: number) =>
  waitFor(async () => {
    const { rows } = await admin.query<{ pid: number }>(
      `select pid from pg_locks where locktype = 'advisory' and not granted
         and database = (select oid from pg_database where datname = current_database())`,
    );
    return rows.find(({ pid }) => pid !== known)?.pid;
  });

const kill = (pid: number) => admin.query('select pg_terminate_backend($1)', [pid]);

async function failureOf(work: Promise<unknown>): Promise<Error & { sent?: boolean }> {
  return await work.then(
    () => expect.fail('it did not fail'),
    (error) => error,
  );
}

describe('time', () => {
  test('an answer that does not come ends the call and the connection; the next call has another', async () => {
    const db = open(through(), 300);
    await db.rows(ONE, []);
    proxy.mute();
    const error = await failureOf(db.rows(ONE, []));
    expect(error).toBeInstanceOf(UnreachableError);
    expect(error).toMatchObject({ sent: true, message: expect.stringContaining('postgresTimeoutMs') });
    await waitFor(() => proxy.connections === 0);
    proxy.heal();
    expect(await db.rows(ONE, [])).toEqual([[1]]);
  });

  test.each(['own', 'caller'])('a server that accepts and says nothing ends the call: %s', async (whose) => {
    proxy.mute();
    const callers = new pg.Pool({ connectionString: through() });
    callers.on('error', () => undefined);
    const error = await failureOf(open(whose === 'own' ? through() : callers, 300).rows(ONE, []));
    expect(error).toMatchObject({ sent: false, message: expect.stringContaining('in time') });
    proxy.cut();
    // Nobody answers its connection that it may go.
    await callers.end();
  });

  test('a server that falls silent while a new connection is set up ends the call', async () => {
    const db = open(through(), 1500);
    // Each answer comes 100 ms late, so that the one to the settings is still under way when the silence begins.
    proxy.delay(100);
    const failing = failureOf(db.rows(ONE, []));
    await waitFor(
      async () => {
        const { rows } = await admin.query(
          `select from pg_stat_activity where datname = current_database() and query like 'set default_transaction%'`,
        );
        return rows.length > 0;
      },
      { intervalMs: 1 },
    );
    proxy.mute();
    expect(await failing).toMatchObject({ sent: false, message: expect.stringContaining('in time') });
    await waitFor(() => proxy.connections === 0);
  });

  test('a statement that runs too long is cancelled by the server too', async () => {
    const db = open(database.url, 300);
    await failureOf(db.rows(statement('sleep', `select pg_sleep(60)`), []));
    await waitFor(async () => {
      const { rows } = await admin.query(
        `select from pg_stat_activity where datname = current_database() and state = 'active' and query like '%pg_sleep(60)'`,
      );
      return rows.length === 0;
    });
  });
});

describe('a full pool', () => {
  test.each(['own', 'caller'])('a call that finds no free connection in time says what to do: %s', async (whose) => {
    const config = { connectionString: database.url, max: 1 };
    const callers = new pg.Pool(config);
    const db = open(whose === 'own' ? config : callers, 300);
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const holding = db.transaction(() => held).catch(() => undefined);
    const error = await failureOf(db.rows(ONE, []));
    release();
    await holding;
    await endPool(callers);
    expect(error.message).toMatch(/no connection of the pool.*max/);
    expect(error.sent).toBe(false);
  });

  test('who finds the only connection idle, behind another who takes it, waits for a call of ours and not for the server', async () => {
    const callers = new pg.Pool({ connectionString: database.url, max: 1 });
    const db = open(callers, 300);
    await db.rows(ONE, []);
    expect(db.pool.idle).toBe(1);
    const holding = db.transaction(() => failing).catch(() => undefined);
    const failing = failureOf(db.rows(ONE, []));
    expect(await failing).toBeInstanceOf(BusyPoolError);
    await holding;
    await endPool(callers);
  });

  test.each(['cold', 'warm'])(
    'of a burst the connections and the queue take their share, the rest is refused: %s',
    async (state) => {
      const release = await holdLock();
      const db = open({ connectionString: database.url, max: 2 }, 10_000, 3);
      if (state === 'warm') await Promise.all([db.rows(ONE, []), db.rows(ONE, [])]);
      const burst = Array.from({ length: 10 }, () => db.rows(WAIT, []));
      const settled = Promise.allSettled(burst);
      const early = await Promise.all(burst.slice(5).map(failureOf));
      for (const error of early) {
        expect(error).toBeInstanceOf(StorageOverloadedError);
        expect(error.message).toContain('maxQueue');
      }
      release();
      expect((await settled).map(({ status }) => status)).toEqual([
        ...Array(5).fill('fulfilled'),
        ...Array(5).fill('rejected'),
      ]);
    },
  );

  test('maxQueue 0 serves as many at a time as there are connections', async () => {
    const db = open({ connectionString: database.url, max: 2 }, 10_000, 0);
    expect(await Promise.all([db.rows(ONE, []), db.rows(ONE, [])])).toEqual([[[1]], [[1]]]);
    const three = await Promise.allSettled([1, 2, 3].map(() => db.rows(ONE, [])));
    expect(three.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected']);
  });
});

describe('a connection that breaks', () => {
  test('under a read: it is replaced once, and the caller never knows', async () => {
    const release = await holdLock();
    const db = open();
    const reading = db.read<[number]>(WAIT, []);
    const first = await waiter();
    await kill(first);
    const second = await waiter(first);
    release();
    expect(await reading).toEqual([[second]]);
  });

  test('twice under one read: the caller hears of it', async () => {
    const release = await holdLock();
    const failing = failureOf(open().read(WAIT, []));
    const first = await waiter();
    await kill(first);
    await kill(await waiter(first));
    expect(await failing).toMatchObject({ sent: true, message: expect.stringContaining('cannot use Postgres') });
    release();
  });

  test('under a write: it is not sent again', async () => {
    const release = await holdLock();
    const failing = failureOf(open().rows(WAIT, []));
    await kill(await waiter());
    expect(await failing).toMatchObject({ sent: true });
    release();
  });

  test.each(['own', 'caller'])('reset in the middle of a query: an error, and nothing uncaught: %s', async (whose) => {
    const release = await holdLock();
    const callers = new pg.Pool({ connectionString: through() });
    const failing = failureOf(open(whose === 'own' ? through() : callers).rows(WAIT, []));
    await waiter();
    proxy.cut();
    expect(await failing).toMatchObject({ sent: true });
    release();
    await endPool(callers);
  });

  test('while idle: the next call has another', async () => {
    const db = open({ connectionString: database.url, max: 1 });
    const [[pid] = [0]] = await db.rows<[number]>(PID, []);
    await kill(pid);
    await waitFor(async () => (await db.read<[number]>(PID, []))[0]?.[0] !== pid);
  });
});

describe('transaction', () => {
  beforeAll(() => admin.query('create table notes (note text)'));

  const NOTE = statement('note', 'insert into notes values ($1)');
  const noted = async (note: string) => (await admin.query('select from notes where note = $1', [note])).rows.length;

  test('commits what its work did, and none of it when that fails; the error is the work’s own', async () => {
    const db = open();
    await db.transaction((session) => session.rows(NOTE, ['kept']));
    const error = new Error('of the work');
    const failing = db.transaction(async (session) => {
      await session.rows(NOTE, ['dropped']);
      throw error;
    });
    await expect(failing).rejects.toBe(error);
    expect([await noted('kept'), await noted('dropped')]).toEqual([1, 0]);
  });

  test('a connection that is lost after the work failed does not hide why it failed', async () => {
    const error = new Error('of the work');
    const failing = open().transaction(async (session) => {
      const [[pid] = [0]] = await session.rows<[number]>(PID, []);
      await kill(pid);
      throw error;
    });
    await expect(failing).rejects.toBe(error);
  });

  test('a connection that is lost before COMMIT was sent leaves no doubt: nothing was written', async () => {
    const failing = open().transaction(async (session) => {
      await session.rows(NOTE, ['never']);
      const [[pid] = [0]] = await session.rows<[number]>(PID, []);
      await kill(pid);
      await session.rows(NOTE, ['never']);
    });
    expect(await failureOf(failing)).toMatchObject({ name: 'UnreachableError', sent: false });
    expect(await noted('never')).toBe(0);
  });

  test('a COMMIT that is never confirmed leaves the doubt it leaves', async () => {
    const db = open(through(), 500);
    const failing = failureOf(
      db.transaction(async (session) => {
        await session.rows(NOTE, ['perhaps']);
        proxy.mute('answers');
      }),
    );
    expect(await failing).toMatchObject({ name: 'UnreachableError', sent: true });
    await waitFor(async () => (await noted('perhaps')) === 1);
  });
});

describe('where nobody can enter', () => {
  const changed = (change: (url: URL) => void) => {
    const url = new URL(database.url);
    change(url);
    return url.toString();
  };

  test.each<[what: string, url: () => string, sentence: RegExp]>([
    ['a wrong password', () => changed((url) => Object.assign(url, { password: 'hunter2' })), /user or password/],
    [
      'a user that is not',
      () => changed((url) => Object.assign(url, { username: 'nobody_at_all' })),
      /user or password/,
    ],
    ['no such database', () => changed((url) => Object.assign(url, { pathname: '/nowhere' })), /no such database/],
    ['a dead port', () => 'postgres://u:hunter2@127.0.0.1:1/x', /refused/],
    ['no such host', () => 'postgres://u:hunter2@nowhere.invalid/x', /no such host/],
    ['no such socket', () => 'socket:/nowhere?db=x', /no such host or socket/],
  ])('%s is one sentence that helps and holds no credentials', async (_, url, sentence) => {
    const { password, username } = new URL(database.url);
    const error = await failureOf(open(url(), 5000).rows(ONE, []));
    expect(error).toMatchObject({ sent: false, message: expect.stringMatching(sentence) });
    for (const secret of ['hunter2', password, `${username}:`]) {
      if (secret !== '') expect(error.message).not.toContain(secret);
    }
    expect(error.message).not.toContain('\n');
  });
});

test('whatever a driver puts into its message, credentials do not pass', () => {
  const { message } = new UnreachableError(false, 'h', new Error('no route to postgres://anna:hunter2@h:1/x today'));
  expect(message).not.toMatch(/anna|hunter2/);
  expect(message).toContain('today');
});

test('close leaves no socket behind, though the server has fallen silent and answers no goodbye', async () => {
  const sockets: Socket[] = [];
  const { port, hostname } = new URL(database.url);
  const relay = createServer({ allowHalfOpen: true }, (client) => {
    const upstream = new Socket({ allowHalfOpen: true }).connect(Number(port || 5432), hostname);
    for (const socket of [client, upstream]) socket.on('error', () => undefined);
    client.on('data', (bytes) => upstream.write(bytes));
    upstream.on('data', (bytes) => client.write(bytes));
    sockets.push(client, upstream);
  });
  await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve));
  const url = new URL(database.url);
  url.host = `127.0.0.1:${(relay.address() as AddressInfo).port}`;
  const mine: Socket[] = [];
  const stream = () => {
    const socket = new Socket();
    return socket.once('connect', () => mine.push(socket));
  };
  const db = new Database({ connectionString: url.toString(), stream }, { timeoutMs: 10_000, maxQueue: 100 });
  await Promise.all([db.rows(ONE, []), db.rows(ONE, [])]);
  expect(mine.map((socket) => socket.destroyed)).toEqual([false, false]);
  await db.close();
  expect(mine.map((socket) => socket.destroyed)).toEqual([true, true]);
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => relay.close(resolve));
});
