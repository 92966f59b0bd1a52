/** The pool on a real Postgres: what its results are on either wire format, and that every call ends. */
import { randomBytes } from 'node:crypto';
import { createServer, type Server, Socket } from 'node:net';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Database, statement } from '../../src/postgres/database.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { endPool } from '../support/pools.js';

let database: TestDatabase;
let pool: pg.Pool;
const opened: Database[] = [];

beforeAll(async () => {
  database = await createDatabase({ template: 'empty' });
  pool = new pg.Pool({ connectionString: database.url, max: 4 });
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((db) => db.close()));
});
afterAll(async () => {
  await endPool(pool);
  await database?.drop();
});

const LIMITS = { timeoutMs: 10_000, maxQueue: 100 };

function open(source: ConstructorParameters<typeof Database>[0] = database.url): Database {
  const db = new Database(source, LIMITS);
  opened.push(db);
  return db;
}

/** The same database, with a role's or a server's settings of its own. */
function withOptions(options: string): string {
  const url = new URL(database.url);
  url.searchParams.set('options', options);
  return url.toString();
}

/** Binary results, hex on a caller's pool, and hex where the probe came back changed. */
const paths: [name: string, open: () => Database][] = [
  ['binary', () => open()],
  ["hex on a caller's pool", () => open(pool)],
  ['hex after a failed probe', () => open(withOptions('-c search_path=tampering,pg_catalog,public'))],
  ['a server that escapes', () => open(withOptions('-c bytea_output=escape'))],
];

beforeAll(async () => {
  // A decode() that answers the probe with other bytes: as a path that is not clean for binary would.
  await pool.query(`create schema tampering;
    create function tampering.decode(text, text) returns bytea language sql immutable return '\\xefbfbd'::bytea`);
});

describe.each(paths)('results: %s', (_, openPath) => {
  test('every type that the statements use becomes the same value', async () => {
    const types = statement(
      'types',
      `select true, false, -5::int8, 9007199254740991::int8, '18446744073709'::xid8, -7::int4, 3::int2, 1.5::float8,
         '2026-11-23 10:20:30.123456+02'::timestamptz, '1969-12-31 23:59:59.5+00'::timestamptz,
         '0A5A0000-0000-4000-8000-00000000BEEF'::uuid, 'grüße 😀'::varchar, ''::text, '\\x00ff80c3285c'::bytea, ''::bytea`,
    );
    const [row] = await openPath().rows(types, []);
    expect(row).toEqual([
      true,
      false,
      -5,
      9_007_199_254_740_991,
      18_446_744_073_709,
      -7,
      3,
      1.5,
      Date.UTC(2026, 10, 23, 8, 20, 30, 123),
      -500,
      '0a5a0000-0000-4000-8000-00000000beef',
      'grüße 😀',
      '',
      Buffer.from('00ff80c3285c', 'hex'),
      Buffer.alloc(0),
    ]);
  });

  test('null is null in every type, beside values and alone', async () => {
    const nulls = statement(
      'nulls',
      `select null::bytea, x, null::int8, null::timestamptz, null::uuid, null::bool from (values ('\\x01'::bytea), (null)) v(x)`,
    );
    const rows = await openPath().rows(nulls, []);
    expect(rows).toEqual([
      [null, Buffer.of(1), null, null, null, null],
      [null, null, null, null, null, null],
    ]);
  });

  test('a thousand different bodies in one result, far larger than a chunk of the socket, arrive intact', async () => {
    const echo = statement('echo', 'select i, body from unnest($1::int4[], $2::bytea[]) as e(i, body)');
    const bodies = Array.from({ length: 1000 }, (_, i) => randomBytes((i * 37) % 9000));
    const rows = await openPath().rows<[number, Buffer]>(echo, [bodies.map((_, i) => i), bodies]);
    expect(rows.length).toBe(1000);
    for (const [i, body] of rows) expect(body.equals(bodies[i] as Buffer)).toBe(true);
  });

  test('results that interleave on one connection, with bytes and without, keep to themselves', async () => {
    const db = openPath();
    const bytes = statement('bytes', 'select $1::bytea');
    const text = statement('text', 'select $1::text, 1::int4');
    await db.transaction(async (session) => {
      for (let i = 0; i < 5; i++) {
        const body = randomBytes(100);
        expect(await session.rows(bytes, [body])).toEqual([[body]]);
        expect(await session.rows(text, [`${i}`])).toEqual([[`${i}`, 1]]);
      }
    });
  });
});

describe('bytes on the wire', () => {
  let relay: { server: Server; port: number; received: () => number };

  beforeAll(async () => {
    let received = 0;
    const { hostname, port } = new URL(database.url);
    const server = createServer((client) => {
      const upstream = new Socket().connect(Number(port || 5432), hostname);
      for (const socket of [client, upstream]) socket.on('error', () => undefined);
      upstream.on('data', (bytes) => {
        received += bytes.length;
        client.write(bytes);
      });
      client.pipe(upstream);
      upstream.on('close', () => client.destroy());
      client.on('close', () => upstream.destroy());
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    relay = { server, port: (server.address() as { port: number }).port, received: () => received };
  });
  afterAll(() => void relay?.server.close());

  const body = statement('body', `select decode(repeat('00ff80c3', 10263), 'hex')`);

  async function cost(source: string | pg.Pool): Promise<number> {
    const db = open(source);
    await db.rows(body, []);
    const before = relay.received();
    const [row] = await db.rows<[Buffer]>(body, []);
    expect(row?.[0].length).toBe(41_052);
    return relay.received() - before;
  }

  function through(url: string): string {
    const relayed = new URL(url);
    relayed.host = `127.0.0.1:${relay.port}`;
    return relayed.toString();
  }

  test('a body of 41,052 bytes costs about as many on our own pool', async () => {
    const bytes = await cost(through(database.url));
    expect(bytes).toBeGreaterThan(41_052);
    expect(bytes).toBeLessThan(41_052 + 300);
  });

  test("and twice as many on a caller's pool and where the probe failed", async () => {
    const callers = new pg.Pool({ connectionString: through(database.url), max: 1 });
    const tampered = through(withOptions('-c search_path=tampering,pg_catalog,public'));
    expect(await cost(callers)).toBeGreaterThan(82_104);
    await endPool(callers);
    const db = open(tampered);
    const hex = statement('hex', `select pg_catalog.decode(repeat('00ff80c3', 10263), 'hex')`);
    await db.rows(hex, []);
    const before = relay.received();
    await db.rows(hex, []);
    expect(relay.received() - before).toBeGreaterThan(82_104);
  });
});

test("a caller's pool is left open, with its listeners as they were", async () => {
  const callers = new pg.Pool({ connectionString: database.url, max: 1 });
  const before = callers.eventNames().map((name) => [name, callers.listenerCount(name)]);
  const db = new Database(callers, LIMITS);
  await db.rows(statement('one', 'select 1'), []);
  await db.close();
  expect((await callers.query('select 2 as two')).rows).toEqual([{ two: 2 }]);
  expect(callers.eventNames().map((name) => [name, callers.listenerCount(name)])).toEqual(before);
  const client = await callers.connect();
  expect(client.listenerCount('error')).toBe(0);
  client.release();
  await endPool(callers);
});
