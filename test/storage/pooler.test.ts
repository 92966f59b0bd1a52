/**
 * Behind PgBouncer in transaction mode: the storage's whole job through two shared sessions, nothing left in them, and a
 * refusal with the mend where the server itself is needed.
 */
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { LoRAStorage, migrate, UserLoRAAdapter } from '../../src/index.js';
import type { LoRAStorageOptions } from '../../src/options.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { startPgBouncer } from '../support/pgbouncer.js';
import { endPool } from '../support/pools.js';
import type { OwnServer } from '../support/servers/server.js';
import { allStarted } from '../support/servers/together.js';
import { withClient } from '../support/template.js';
import { waitFor } from '../support/wait.js';

const SMALL = { rank: 2, inputDim: 4, outputDim: 3 };

let database: TestDatabase;
let bouncer: OwnServer;
/** With a single session, which everybody gets in turn. */
let narrow: OwnServer;

beforeAll(async () => {
  database = await createDatabase();
  const starting = [startPgBouncer(database.url, 2), startPgBouncer(database.url, 1)];
  [bouncer, narrow] = (await allStarted(starting)) as [OwnServer, OwnServer];
});

afterAll(async () => {
  await Promise.all([bouncer?.stop(), narrow?.stop()]);
  await database?.drop();
});

const open = (options: LoRAStorageOptions) =>
  LoRAStorage.open({ redis: false, createMissingUsers: true, postgresTimeoutMs: 20_000, ...options });
const adapterOf = (userId: string, seed: number) => new UserLoRAAdapter(userId, SMALL).initializeRandom(seed);
const weights = (adapter: UserLoRAAdapter) => [...adapter.userLayerWeights.data];

/** Many users at once, each in its own order of steps, over fewer sessions than callers. */
async function wholeJob(storage: LoRAStorage): Promise<void> {
  const users = Array.from({ length: 12 }, () => randomUUID());
  await Promise.all(
    users.map(async (user, i) => {
      expect(await storage.saveAdapter(adapterOf(user, i))).toBe(1);
      expect(await storage.saveAdapter(adapterOf(user, i + 100))).toBe(2);
      expect(await storage.saveAdapter(adapterOf(user, i + 200), 'default', { expectedVersion: 2 })).toBe(3);
      expect(weights(await storage.loadAdapterVersion(user, 'default', 1))).toEqual(weights(adapterOf(user, i)));
      expect(await storage.rollbackAdapter(user, 'default', 1)).toBe(4);
      expect(weights(await storage.loadAdapter(user))).toEqual(weights(adapterOf(user, i)));
      expect(await storage.pruneVersions({ keepLatest: 2, userId: user })).toBe(2);
      expect(await storage.countAdapters(user)).toBe(2);
    }),
  );
  const loaded = await storage.loadAdapters(users.map((userId) => ({ userId })));
  expect(loaded.map((each) => (each as UserLoRAAdapter).userId)).toEqual(users);
  for (const user of users) expect(await storage.deleteAdapter(user)).toBe(2);
  await storage.forgetUser(users[0] ?? '');
  expect(await storage.loadAdapters(users.map((userId) => ({ userId })))).toEqual(users.map(() => undefined));
}

/** What the pooler's sessions hold that the next program to get one would find. */
async function leftBehind(through: OwnServer): Promise<unknown[]> {
  return await withClient(through.url, async (client) => {
    const settings = await client.query(
      `select name, setting from pg_settings
       where name in ('lock_timeout', 'statement_timeout', 'default_transaction_isolation') and source = 'session'`,
    );
    const prepared = await client.query('select name from pg_prepared_statements');
    return [...settings.rows, ...prepared.rows];
  });
}

test('the whole job, on connections of the package, with LISTEN on the server itself', async () => {
  await using storage = await open({ postgres: { primary: bouncer.url, direct: database.url } });
  expect(await storage.health()).toMatchObject({ postgres: 'up', changeFeed: 'live' });
  await wholeJob(storage);
  expect(await leftBehind(bouncer)).toEqual([]);
});

test('the whole job on a pool of the caller, without a change feed', async () => {
  const pool = new pg.Pool({ connectionString: bouncer.url, max: 5 });
  try {
    await using storage = await open({ postgres: pool, changeFeed: false });
    await wholeJob(storage);
    expect(await leftBehind(bouncer)).toEqual([]);
  } finally {
    await endPool(pool);
  }
});

test('a write elsewhere is heard behind the pooler', async () => {
  const user = randomUUID();
  await using here = await open({ postgres: { primary: bouncer.url, direct: database.url } });
  await using there = await open({ postgres: database.url });
  await there.saveAdapter(adapterOf(user, 1));
  await here.loadAdapter(user);
  await there.saveAdapter(adapterOf(user, 2));
  await waitFor(() => here.peekAdapter(user) === undefined, { what: 'the word of the second version' });
  expect(weights(await here.loadAdapter(user))).toEqual(weights(adapterOf(user, 2)));
});

test('locks are waited for within the budget, by settings that end with their transaction', async () => {
  const user = randomUUID();
  await using storage = await open({
    postgres: { primary: narrow.url, direct: database.url },
    postgresTimeoutMs: 1000,
  });
  await storage.saveAdapter(adapterOf(user, 1));
  await withClient(database.url, async (client) => {
    await client.query('begin');
    await client.query('select from lora_adapters where user_id = $1 for update', [user]);
    await expect(storage.deleteAdapter(user)).rejects.toThrow(/55P03.*lock/);
  });
  expect(await leftBehind(narrow)).toEqual([]);
});

test.each([
  [
    'postgres',
    () => narrow.url,
    /option postgres leads to a pooler.* add postgres\.direct to the server, or pass changeFeed: false/,
  ],
  [
    'postgres.direct',
    () => ({ primary: database.url, direct: narrow.url }),
    /option postgres\.direct leads to a pooler.* set it to the server/,
  ],
])('%s: an ear behind the pooler is refused, though its first heartbeats come back', async (_, postgres, words) => {
  await expect(open({ postgres: postgres() })).rejects.toThrow(words);
});

test('a pool of the caller that leads to one is found out, too', async () => {
  const pool = new pg.Pool({ connectionString: bouncer.url, max: 2 });
  try {
    await expect(open({ postgres: pool })).rejects.toThrow(/option postgres leads to a pooler/);
  } finally {
    await endPool(pool);
  }
});

test('migrations are refused, and leave no lock in a session of the pooler', async () => {
  await expect(migrate({ postgres: narrow.url })).rejects.toThrow(
    /leads to a pooler.* migrate with the URL of the server/,
  );
  const locks = await withClient(database.url, (client) =>
    client.query(
      `select from pg_locks where locktype = 'advisory'
       and database = (select oid from pg_database where datname = current_database())`,
    ),
  );
  expect(locks.rowCount).toBe(0);
});

test('a save that waits for a lock is told so, is not committed behind its caller, and keeps nobody else waiting', async () => {
  const [user, other] = [randomUUID(), randomUUID()];
  const options = { memory: false as const, postgresTimeoutMs: 1000 };
  await using storage = await open({ postgres: { primary: bouncer.url, direct: database.url }, ...options });
  for (const each of [user, other]) await storage.saveAdapter(adapterOf(each, 1));
  await withClient(database.url, async (client) => {
    await client.query('begin');
    await client.query('select from lora_adapter_heads where user_id = $1 for update', [user]);
    for (let tries = 0; tries < 3; tries++) {
      await expect(storage.saveAdapter(adapterOf(user, 2))).rejects.toThrow(/55P03.*lock/);
      expect((await storage.loadAdapter(other)).userId).toBe(other);
    }
    await client.query('rollback');
  });
  expect(await storage.saveAdapter(adapterOf(user, 2))).toBe(2);
});

test.each([
  ['behind a pooler saves begin transactions of their own', (url: string) => ({ postgres: url, changeFeed: false })],
  ['on a pool of the package the session is told', (url: string) => ({ postgres: url })],
])('a role whose transactions begin at another level: %s', async (what, source) => {
  const role = await roleAt('serializable');
  const through = what.startsWith('behind') ? await startPgBouncer(role.url, 2) : undefined;
  try {
    await using storage = await open(source(through?.url ?? role.url));
    const user = randomUUID();
    const saves = Array.from({ length: 10 }, (_, i) => storage.saveAdapter(adapterOf(user, i)));
    expect((await Promise.all(saves)).sort((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  } finally {
    await through?.stop();
    await role.drop();
  }
});

test('on a pool of the caller, which begins so, it is refused with the statement that mends it', async () => {
  const role = await roleAt('repeatable read');
  const pool = new pg.Pool({ connectionString: role.url, max: 2 });
  try {
    await expect(open({ postgres: pool })).rejects.toThrow(
      /repeatable read: alter role .* set default_transaction_isolation = 'read committed'/,
    );
  } finally {
    await endPool(pool);
    await role.drop();
  }
});

/** A database in which transactions begin at that level unless they say otherwise. */
async function roleAt(level: string): Promise<TestDatabase> {
  const made = await createDatabase();
  const name = new URL(made.url).pathname.slice(1);
  await withClient(made.url, (client) =>
    client.query(`alter database ${name} set default_transaction_isolation = '${level}'`),
  );
  return made;
}
