/** What a listener on lora_store_heads hears: each change of a head once, in the commit that made it, and never more. */
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { ANNA, BERT, headOf, insertNext, insertVersion, save } from './support/writers.js';

let database: TestDatabase;
let client: pg.Client;
let listener: pg.Client;

beforeAll(async () => {
  database = await createDatabase();
  client = new pg.Client({ connectionString: database.url });
  listener = new pg.Client({ connectionString: database.url });
  await Promise.all([client.connect(), listener.connect()]);
  await listener.query('listen lora_store_heads; listen test_marker');
});

afterAll(async () => {
  await Promise.all([client?.end(), listener?.end()]);
  await database?.drop();
});

beforeEach(() => client.query(`insert into users values ('${ANNA}'), ('${BERT}')`));
afterEach(() => client.query('delete from users; delete from lora_adapter_heads'));

/** Payloads that came from `write`. Notifications arrive in the order of their commits, so two markers of our own bound them. */
async function payloadsOf(write: () => Promise<unknown>): Promise<string[]> {
  await marker();
  const heard: string[] = [];
  const hear = ({ channel, payload = '' }: pg.Notification) => {
    if (channel === 'lora_store_heads') heard.push(payload);
  };
  listener.on('notification', hear);
  await write();
  await marker();
  listener.off('notification', hear);
  return heard;
}

async function marker(): Promise<void> {
  const heard = new Promise<void>((resolve) => {
    listener.on('notification', function wait({ channel }) {
      if (channel !== 'test_marker') return;
      listener.off('notification', wait);
      resolve();
    });
  });
  await client.query('notify test_marker');
  await heard;
}

async function message(name: string, userId = ANNA): Promise<string> {
  const head = await headOf(client, userId, name);
  return `{"u":"${userId}","n":${JSON.stringify(name)},"r":${head?.revision},"v":${head?.latest ?? null}}`;
}

describe('a listener', () => {
  test('hears a save once, with the revision it returned', async () => {
    for (let version = 1; version <= 2; version++) {
      let revision = '';
      const payloads = await payloadsOf(async () => {
        ({ revision } = await save(client, ANNA, 'default'));
      });
      expect(payloads).toEqual([`{"u":"${ANNA}","n":"default","r":${revision},"v":${version}}`]);
    }
  });

  test('hears a stranger insert, rewrite and delete, each once', async () => {
    const writes = [
      () => insertNext(client, ANNA, 'default'),
      () => insertNext(client, ANNA, 'default'),
      () => client.query('update lora_adapters set training_iterations = 1 where version = 2'),
      () => client.query('delete from lora_adapters where version = 2'),
      () => client.query(`delete from users where id = '${ANNA}'`),
    ];
    for (const write of writes) expect(await payloadsOf(write)).toEqual([await message('default')]);
    expect((await headOf(client, ANNA, 'default'))?.latest).toBeNull();
  });

  test('hears that a head is gone, with a revision beyond its last', async () => {
    await save(client, ANNA, 'default');
    const last = (await headOf(client, ANNA, 'default'))?.revision ?? 0;
    const [payload = '', ...others] = await payloadsOf(() => client.query('delete from lora_adapter_heads'));
    expect(others).toEqual([]);
    const { r, ...rest } = JSON.parse(payload) as { r: number };
    expect(rest).toEqual({ u: ANNA, n: 'default', v: null });
    expect(r).toBeGreaterThan(last);
    await client.query('delete from lora_adapters');
  });

  test.each([
    ['older versions are pruned', 'delete from lora_adapters where version < 3'],
    ['an older version is rewritten', 'update lora_adapters set training_iterations = 2 where version = 1'],
    [
      'an insert comes to nothing',
      `insert into lora_adapters (id, user_id, adapter_name, weights, size_bytes)
      select id, user_id, 'new', '', 0 from lora_adapters on conflict do nothing`,
    ],
    ['a write is rolled back', 'begin; delete from lora_adapters; rollback'],
    ['a write finds no row', 'delete from lora_adapters where version = 77'],
  ])('hears nothing when %s', async (_what, write) => {
    for (let version = 1; version <= 3; version++) await save(client, ANNA, 'default');
    expect(await payloadsOf(() => client.query(write))).toEqual([]);
  });

  test('hears a hundred heads of one statement one by one, and more as *', async () => {
    const insert = (count: number) => () =>
      client.query(
        `insert into lora_adapters (user_id, adapter_name, weights, size_bytes) select '${ANNA}', 'a' || n, '', 0 from generate_series(1, ${count}) n`,
      );
    const payloads = await payloadsOf(insert(100));
    expect(payloads).toHaveLength(100);
    expect(payloads).toContain(await message('a77'));
    expect(await payloadsOf(() => client.query('truncate lora_adapters'))).toHaveLength(100);

    expect(await payloadsOf(insert(101))).toEqual(['*']);
    expect(await payloadsOf(() => client.query('update lora_adapters set training_iterations = 3'))).toEqual(['*']);
    expect(await payloadsOf(() => client.query('truncate lora_adapters'))).toEqual(['*']);
    expect(await payloadsOf(() => client.query('delete from lora_adapter_heads'))).toEqual(['*']);
  });

  test('hears one * of ten thousand, and nothing of ten thousand that change no head', async () => {
    await client.query(
      `insert into lora_adapters (user_id, adapter_name, version, weights, size_bytes)
       select '${BERT}', 'a' || n, v, '', 0 from generate_series(1, 10000) n, generate_series(1, 2) v`,
    );
    expect(await payloadsOf(() => client.query('delete from lora_adapters where version = 1'))).toEqual([]);
    expect(await payloadsOf(() => client.query('delete from lora_adapters'))).toEqual(['*']);
  });

  test.each([
    ['100 characters of four bytes', '\u{1F600}'.repeat(100)],
    ['100 characters that JSON escapes', '\u0001'.repeat(100)],
    ['quotes, backslashes and line ends', `"\\'\n\r\t{"n":1}`],
  ])('hears names of %s', async (_what, name) => {
    const [payload = ''] = await payloadsOf(() => insertVersion(client, ANNA, name, 1));
    expect(JSON.parse(payload)).toMatchObject({ u: ANNA, n: name, v: 1 });
    expect(Buffer.byteLength(payload)).toBeLessThan(1000);
  });
});
