/**
 * Writers that meet at a head. Each interleaving is written out: a statement that has to wait is seen waiting in
 * pg_stat_activity before the next one goes out, so nothing here depends on who is faster.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { waitFor } from '../support/wait.js';
import { applyFiles } from './support/migration-files.js';
import { Session } from './support/session.js';
import { ANNA, BERT, headOf, insertVersion, save, wrongHeads } from './support/writers.js';

let database: TestDatabase;
let observer: Session;
let one: Session;
let two: Session;
let three: Session;

beforeAll(async () => {
  database = await createDatabase();
  const sessions = Array.from({ length: 4 }, () => new Session({ connectionString: database.url }));
  [observer, one, two, three] = sessions as [Session, Session, Session, Session];
  await Promise.all(sessions.map((session) => session.connect()));
});

afterAll(async () => {
  await Promise.all([observer, one, two, three].map((session) => session?.end()));
  await database?.drop();
});

beforeEach(() => observer.query(`insert into users values ('${ANNA}'), ('${BERT}')`));

afterEach(async () => {
  await Promise.all([one, two, three].map((session) => session.query('rollback')));
  expect(await wrongHeads(observer)).toEqual([]);
  await observer.query('delete from users; delete from lora_adapter_heads');
});

const latest = async (name = 'default') => (await headOf(observer, ANNA, name))?.latest;

describe('the first version of an adapter, inserted by two at once', () => {
  test.each([
    ['commit', [2, 2]],
    ['rollback', [2, 2]],
  ])('and the first one ends in %s', async (end, [last, newest]) => {
    await one.query('begin');
    await insertVersion(one, ANNA, 'default', 1);
    const { answer } = await two.blocked(observer, insertVersion(two, ANNA, 'default', 2));
    await one.query(end);
    await answer;
    expect(await headOf(observer, ANNA, 'default')).toMatchObject({ last, latest: newest });
  });

  test('two saves of ours: 1 and 2', async () => {
    await one.query('begin');
    expect((await save(one, ANNA, 'default')).version).toBe(1);
    const { answer } = await two.blocked(observer, save(two, ANNA, 'default'));
    await one.query('commit');
    expect(await answer).toMatchObject({
      version: 2,
      revision: String((await headOf(observer, ANNA, 'default'))?.revision),
    });
  });
});

describe('a stranger holds the head before the body exists', () => {
  test('and so does not stand in the way of whoever holds it already', async () => {
    await save(one, ANNA, 'default');
    await one.query('begin');
    await save(one, ANNA, 'default');
    const { answer } = await two.blocked(observer, insertVersion(two, ANNA, 'default', 3));
    expect((await save(one, ANNA, 'default')).version).toBe(3);
    await one.query('commit');
    await expect(answer).rejects.toMatchObject({ code: '23505' });
  });

  test('also a head that another has made while it was making one', async () => {
    // Stops an insert of version 2 between the head and the body; triggers fire in the order of their names.
    await observer.query(`
      create function pause() returns trigger language plpgsql as
        'begin if new.version = 2 then perform pg_advisory_xact_lock(1); end if; return new; end';
      create trigger zz_pause before insert on lora_adapters for each row execute function pause()`);
    await three.query('begin; select pg_advisory_xact_lock(1)');
    await one.query('begin');
    await insertVersion(one, ANNA, 'default', 1);
    const { answer } = await two.blocked(observer, insertVersion(two, ANNA, 'default', 2));
    await one.query('commit');
    await waitFor(
      async () =>
        (await observer.query(`select from pg_locks where locktype = 'advisory' and pid = $1`, [two.pid()]))
          .rowCount === 1,
      { what: 'the insert to pause' },
    );
    await expect(one.query('select from lora_adapter_heads for update nowait')).rejects.toMatchObject({
      code: '55P03',
    });
    await three.query('commit');
    await answer;
    await observer.query('drop trigger zz_pause on lora_adapters; drop function pause()');
  });
});

test('a stranger takes the user first and the head after: whoever deletes the user does not find the head taken', async () => {
  await save(one, ANNA, 'default');
  await one.query('begin');
  await one.query(`select from users where id = '${ANNA}' for update`);
  const { answer } = await two.blocked(observer, insertVersion(two, ANNA, 'default', 9));
  await one.query(`set local lock_timeout = '1ms'`);
  await one.query(`delete from users where id = '${ANNA}'`);
  await one.query('commit');
  await expect(answer).rejects.toThrow('violates foreign key');
});

test('a delete that has waited for a save counts what the save has committed', async () => {
  await save(one, ANNA, 'default');
  await one.query('begin');
  await save(one, ANNA, 'default');
  const { answer } = await two.blocked(observer, two.query('delete from lora_adapters where version = 1'));
  await one.query('commit');
  await answer;
  expect(await latest()).toBe(2);
});

test('a rewrite that has waited until its version became the latest is a new revision', async () => {
  await save(one, ANNA, 'default');
  await save(one, ANNA, 'default');
  await one.query('begin');
  await one.query('delete from lora_adapters where version = 2');
  const { answer } = await two.blocked(
    observer,
    two.query('update lora_adapters set training_iterations = 1 where version = 1'),
  );
  const before = await headOf(one, ANNA, 'default');
  await one.query('commit');
  await answer;
  const after = await headOf(observer, ANNA, 'default');
  expect([before?.latest, after?.latest]).toEqual([1, 1]);
  expect(after?.revision).toBeGreaterThan(before?.revision ?? 0);
});

test('statements take their heads in the order of keys, in whatever order they meet the rows', async () => {
  const names = ['c', 'a', 'b'];
  for (const name of names) for (const version of [1, 2]) await insertVersion(one, ANNA, name, version);
  // Whoever waits for 'a' must not hold 'b' or 'c' yet.
  await one.query(`begin; select from lora_adapter_heads where adapter_name = 'a' for update`);
  const writes = [
    [two, 'delete from lora_adapters where version = 1'],
    [three, 'update lora_adapters set training_iterations = 4 where version = 2'],
  ] as const;
  const waiting = [];
  for (const [session, write] of writes) waiting.push(await session.blocked(observer, session.query(write)));
  await one.query(`select from lora_adapter_heads where adapter_name <> 'a' for update nowait`);
  await one.query('commit');
  await Promise.all(waiting.map(({ answer }) => answer));
});

describe.each(['repeatable read', 'serializable'])('a %s session', (level) => {
  /** Its snapshot is taken here; what others commit after this it does not see. */
  const begin = async () => {
    for (const version of [1, 2, 3]) await insertVersion(one, ANNA, 'default', version);
    await one.query(`begin isolation level ${level}`);
    await one.query('select count(*) from lora_adapters');
  };

  test.each([
    ['prunes the version it would fall back to', 'delete from lora_adapters where version = 2'],
    [
      'brings one in between',
      `insert into lora_adapters (user_id, version, weights, size_bytes) values ('${ANNA}', 0, '', 0)`,
    ],
    ['renumbers it', 'update lora_adapters set version = -5 where version = 2'],
  ])('deletes the latest version while another %s: one of them has to try again', async (_what, write) => {
    await begin();
    await two.query(write);
    await expect(one.query('delete from lora_adapters where version = 3')).rejects.toMatchObject({ code: '40001' });
  });

  test('saves while another does', async () => {
    await begin();
    await save(two, ANNA, 'default');
    await expect(save(one, ANNA, 'default')).rejects.toMatchObject({ code: '40001' });
  });

  test('inserts the first version of an adapter that another has just made', async () => {
    await begin();
    await insertVersion(two, ANNA, 'new', 1);
    await expect(insertVersion(one, ANNA, 'new', 2)).rejects.toMatchObject({ code: '40001' });
    await one.query('rollback');
    await insertVersion(one, ANNA, 'new', 2);
    expect(await latest('new')).toBe(2);
  });
});

test.each([
  ['is applied', () => applyFiles(database.url, 'down', ['003'])],
  ['is applied again where heads were lost', () => observer.query('delete from lora_adapter_heads')],
])('a migration that %s waits for a delete under way, and does not promise its row', async (_what, before) => {
  for (const version of [1, 2]) await insertVersion(one, ANNA, 'default', version);
  await before();
  await one.query('begin');
  await one.query('delete from lora_adapters where version = 2');
  const migrating = applyFiles(database.url, 'up', ['003']);
  await waitFor(
    async () =>
      (await observer.query(`select from pg_locks where relation = 'lora_adapters'::regclass and not granted`))
        .rowCount === 1,
    { what: 'the migration to wait' },
  );
  await one.query('commit');
  await migrating;
  expect(await latest()).toBe(1);
});

test.each(['repeatable read', 'serializable'])('the migration refuses to read old rows at %s', async (level) => {
  const url = new URL(database.url);
  url.searchParams.set('options', `-c default_transaction_isolation=${level.replace(' ', '\\ ')}`);
  await expect(applyFiles(url.toString(), 'up', ['003'])).rejects.toThrow(`READ COMMITTED, not ${level}`);
});
