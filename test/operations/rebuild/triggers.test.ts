/** Heads stay true, and nodes hear, whoever writes to a partitioned table: through it, to a partition by name, or by a cascade. */
import type pg from 'pg';
import { beforeEach, expect, test } from 'vitest';
import { user } from '../../cli/archives.js';
import { save } from '../../postgres/support/writers.js';
import { FOUR, headsAreTrue, into, type Place, usePlaces } from './support.js';

const place = usePlaces();
let db: Place;
/** The partition of user 1. */
let partition: string;
let heard: string[];
let ear: pg.Client;

const whereIs = async (userId: string) =>
  (
    (
      await db.sql(`select tableoid::regclass::text as name from lora_adapters where user_id = $1 limit 1`, [userId])
    )[0] as { name: string }
  ).name;

beforeEach(async () => {
  db = await place();
  await into(db.tables, FOUR);
  partition = await whereIs(user(1));
  heard = [];
  ear = await db.session();
  ear.on('notification', ({ payload = '' }) => heard.push(payload));
  await ear.query('listen lora_store_heads');
});

interface Head {
  readonly last_version: number;
  readonly latest_version: number | null;
  readonly revision: string;
}

const headOf = async (userId: string) =>
  (
    await db.sql<Head & pg.QueryResultRow>(
      'select last_version, latest_version, revision from lora_adapter_heads where user_id = $1',
      [userId],
    )
  )[0] as Head;

/** The head of user 1 before and after `statement`, and what was heard of it: each word is a revision. */
async function after(statement: string) {
  const before = await headOf(user(1));
  await db.sql(statement.replaceAll('PARTITION', partition));
  const then = await headOf(user(1));
  // A query of its own: what was notified before it has arrived with its answer.
  await ear.query('select 1');
  expect(await headsAreTrue(db)).toEqual([]);
  return { before, then, words: heard.map((word) => JSON.parse(word)) };
}

const COLUMNS = '(user_id, adapter_name, version, weights, size_bytes)';
const row = (n: number) => `${COLUMNS} values ('${user(n)}', 'default', 7, '\\x00', 1)`;
const third = (n: number) => `where user_id = '${user(n)}' and version = 3`;

/** Of a user each; the last one empties a table. */
const EVENTS: readonly [event: string, n: number, statement: (table: string) => string, latest: number | null][] = [
  ['insert', 1, (table) => `insert into ${table} ${row(1)}`, 7],
  ['update', 2, (table) => `update ${table} set weights = '\\x01' ${third(2)}`, 3],
  ['update of the key', 3, (table) => `update ${table} set version = 9 ${third(3)}`, 9],
  ['delete', 4, (table) => `delete from ${table} ${third(4)}`, 2],
  ['truncate', 5, (table) => `truncate ${table}`, null],
];

test.each([
  ['a partition', whereIs],
  ['the partitioned table', async () => 'lora_adapters'],
])('each statement that names %s bumps the revision once', async (_, tableOf) => {
  for (const [event, n, statement, latest] of EVENTS) {
    heard.length = 0;
    const before = await headOf(user(n));
    await db.sql(statement(await tableOf(user(n))));
    const { latest_version, revision } = await headOf(user(n));
    // A query of its own: what was notified before it has arrived with its answer.
    await ear.query('select 1');
    expect([event, latest_version]).toEqual([event, latest]);
    expect(BigInt(revision)).toBeGreaterThan(BigInt(before.revision));
    // Once: one word, and it says the revision that stayed.
    const mine = heard.map((word) => JSON.parse(word)).filter(({ u }) => u === user(n));
    expect([event, mine]).toEqual([event, [{ u: user(n), n: 'default', r: Number(revision), v: latest }]]);
    expect(await headsAreTrue(db)).toEqual([]);
  }
});

test('a partition that is truncated takes its users alone; those of the others stay as they are', async () => {
  const others = [2, 3, 4, 5, 6].map(user);
  const places = await Promise.all(others.map(whereIs));
  const stay = others.filter((_, i) => places[i] !== partition);
  expect(stay.length).toBeGreaterThan(0);
  const before = await Promise.all(stay.map(headOf));
  await after('truncate PARTITION');
  expect(await Promise.all(stay.map(headOf))).toEqual(before);
});

test('an update that moves a row to another partition settles both heads, each once', async () => {
  const other = [2, 3, 4, 5, 6].map(user) as string[];
  const places = await Promise.all(other.map(whereIs));
  const target = other[places.findIndex((name) => name !== partition)] as string;
  const { words } = await after(
    `update lora_adapters set user_id = '${target}', version = 8 where user_id = '${user(1)}' and version = 3`,
  );
  expect((await headOf(user(1))).latest_version).toBe(2);
  expect((await headOf(target)).latest_version).toBe(8);
  expect(words.map(({ u, v }) => [u, v]).sort()).toEqual(
    [
      [user(1), 2],
      [target, 8],
    ].sort(),
  );
});

test('ON DELETE CASCADE from users', async () => {
  const { then, words } = await after(`delete from users where id = '${user(1)}'`);
  expect(then.latest_version).toBeNull();
  expect(words).toEqual([{ u: user(1), n: 'default', r: Number(then.revision), v: null }]);
});

test('a save, whose revision is the one it returns', async () => {
  const client = await db.session();
  const saved = await save(client, user(1), 'default');
  await ear.query('select 1');
  expect(saved.version).toBe(4);
  expect(await headOf(user(1))).toEqual({ last_version: 4, latest_version: 4, revision: saved.revision });
  expect(heard.map((word) => JSON.parse(word).r)).toEqual([Number(saved.revision)]);
});

test('a role that may insert into a partition, and has no right on heads', async () => {
  const role = `lora_partition_${process.pid}`;
  await db.sql(`create role ${role}; grant insert on ${partition} to ${role}`);
  try {
    const { then } = await after(`set role ${role}; insert into PARTITION ${row(1)}; reset role`);
    expect(then.latest_version).toBe(7);
  } finally {
    await db.sql(`drop owned by ${role}; drop role ${role}`);
  }
});
