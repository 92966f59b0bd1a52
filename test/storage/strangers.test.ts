/**
 * Nodes of ours and strangers who know no heads, all writing the same adapters, at READ COMMITTED and REPEATABLE READ.
 * Bounded by a number of writes. What holds for every interleaving: a revision is one (version, body) for ever, a reader
 * never goes back, no head dangles, a call of ours that loses a race is sent again or says so.
 */
import { createHash } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { encodeAdapter } from '../../src/adapter/codec.js';
import type { LoRAStorage } from '../../src/storage/lora-storage.js';
import { wrongHeads } from '../postgres/support/writers.js';
import { smallAdapter, useStorage } from '../support/storage.js';
import { waitFor } from '../support/wait.js';

const bench = useStorage();
const NAMES = ['default', 'other'];
const ROUNDS = 30;
const clients: pg.Client[] = [];

beforeAll(async () => {
  // Strangers do deadlock; only a superuser may say that a second is too long to find out.
  await bench.sql(`do $$ begin execute format('alter database %I set deadlock_timeout = ''100ms''', current_database());
    exception when insufficient_privilege then null; end $$`);
});
afterAll(() => Promise.all(clients.map((client) => client.end())));

async function connect(): Promise<pg.Client> {
  const client = new pg.Client(bench.postgresUrl);
  await client.connect();
  clients.push(client);
  return client;
}

/** What a revision was seen to mean, by whomever; and what is wrong about that. */
class Chronicle {
  readonly meanings = new Map<string, string>();
  readonly wrong: string[] = [];

  note(key: string, revision: number, version: number, bytes: Buffer): void {
    const place = `${key} at ${revision}`;
    const meaning = `version ${version}, ${createHash('sha256').update(bytes).digest('hex')}`;
    const known = this.meanings.get(place) ?? meaning;
    if (known !== meaning) this.wrong.push(`${place}: ${known}, then ${meaning}`);
    this.meanings.set(place, known);
  }
}

/** Reads what a node answers until it is told to stop, by turns of users and names. */
async function watch(node: LoRAStorage, users: string[], chronicle: Chronicle, stopped: () => boolean): Promise<void> {
  const last = new Map<string, number>();
  for (let i = 0; !stopped() || i < 100; i++) {
    const [userId, name] = [users[i % 2] as string, NAMES[(i >> 1) % 2] as string];
    // A hit lets nobody else run.
    await new Promise((resolve) => setImmediate(resolve));
    const found = await node.loadAdapterInfo(userId, name).catch(({ code }) => code);
    if (found === 'ADAPTER_NOT_FOUND') continue;
    if (typeof found === 'string') {
      chronicle.wrong.push(`a read failed: ${found}`);
      continue;
    }
    const key = `${userId} ${name}`;
    if (found.revision < (last.get(key) ?? 0)) chronicle.wrong.push(`${key}: ${found.revision} after ${last.get(key)}`);
    last.set(key, found.revision);
    chronicle.note(key, found.revision, found.version, encodeAdapter(found.adapter));
  }
}

type Ours = (node: LoRAStorage, userId: string, name: string, round: number) => Promise<unknown>;
type Strange = (client: pg.Client, userId: string, name: string, round: number) => Promise<unknown>;

const KEY = 'where user_id = $1 and adapter_name = $2';
const bytesOf = (userId: string, round: number) => encodeAdapter(smallAdapter(userId, 1000 + round));

const ours: Ours[] = [
  (node, userId, name, round) => node.saveAdapter(smallAdapter(userId, round), name),
  async (node, userId, name, round) => {
    const { version } = await node.loadAdapterInfo(userId, name);
    await node.saveAdapter(smallAdapter(userId, 100 + round), name, { expectedVersion: version });
  },
  (node, userId, name, round) => node.saveAdapter(smallAdapter(userId, round), name, { expectedVersion: 0 }),
  async (node, userId, name) => {
    const versions = (await node.listAdapters(userId)).filter(({ adapterName }) => adapterName === name);
    await node.rollbackAdapter(userId, name, versions.at(-1)?.version ?? 1);
  },
  async (node, userId, name) => {
    const { version } = await node.loadAdapterInfo(userId, name);
    await node.deleteAdapterVersion(userId, name, version);
  },
  (node, userId, name, round) =>
    round % 3 === 0 ? node.deleteAdapter(userId, name) : node.pruneVersions({ keepLatest: 2 }),
  (node, userId, _name, round) =>
    round % 10 === 9 ? node.forgetUser(userId) : node.pruneOlderThan({ olderThanDays: 1, includeLatest: true }),
];

const strange: Strange[] = [
  (client, userId, name, round) =>
    client.query(
      `insert into lora_adapters (user_id, adapter_name, version, weights, size_bytes)
       select $1::uuid, $2::varchar, coalesce(max(version), 0) + 1, $3::bytea, 1 from lora_adapters ${KEY}`,
      [userId, name, bytesOf(userId, round)],
    ),
  (client, userId, name) =>
    client.query(`delete from lora_adapters ${KEY} and version = (select max(version) from lora_adapters ${KEY})`, [
      userId,
      name,
    ]),
  (client, userId, name, round) =>
    client.query(`update lora_adapters set weights = $3 ${KEY}`, [userId, name, bytesOf(userId, round)]),
  (client) => client.query('delete from lora_adapters where version % 3 = 0'),
  async (client, userId, _name, round) => {
    if (round % 5 !== 4) return;
    await client.query('delete from users where id = $1', [userId]);
    await client.query('insert into users values ($1) on conflict do nothing', [userId]);
  },
];

/** Answers of ours that are no failures; a user may be gone for a moment. */
const ANSWERS = ['ADAPTER_NOT_FOUND', 'VERSION_CONFLICT', 'USER_NOT_FOUND'];

async function write(node: LoRAStorage, act: Ours, users: string[], offset: number, failures: Error[]): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    const at = round + offset;
    await act(node, users[at % 2] as string, NAMES[(at >> 1) % 2] as string, round).catch((error) => {
      // Three times a victim of strangers: it says so, and nothing was written.
      const victim = error.code === 'STORAGE_UNAVAILABLE' && /refused \((40P01|40001|23505)\)/.test(error.message);
      if (!victim && !ANSWERS.includes(error.code)) failures.push(error);
    });
  }
}

async function intrude(act: Strange, level: string, users: string[], offset: number): Promise<void> {
  const client = await connect();
  for (let round = 0; round < ROUNDS; round++) {
    const at = round + offset;
    for (let tries = 1; ; tries++) {
      try {
        await client.query(`begin isolation level ${level}`);
        await act(client, users[at % 2] as string, NAMES[(at >> 1) % 2] as string, round);
        await client.query('commit');
        break;
      } catch (error) {
        await client.query('rollback');
        if (!['40P01', '40001', '23505', '23503'].includes((error as { code: string }).code) || tries === 50)
          throw error;
      }
    }
  }
}

test('every kind of write at once', async () => {
  const chronicle = new Chronicle();
  const users = [await bench.user(), await bench.user()];
  const patience = { maxStalenessMs: 60_000, postgresTimeoutMs: 60_000 };
  const nodes = [
    await bench.open(patience),
    await bench.open(patience),
    await bench.open({ ...patience, redis: false }),
  ];
  const node = (i: number) => nodes[i % nodes.length] as LoRAStorage;
  let running = true;
  const readers = nodes.map((each) => watch(each, users, chronicle, () => !running));
  const failures: Error[] = [];
  const written = await Promise.allSettled([
    ...ours.flatMap((act, i) => [
      write(node(i), act, users, i, failures),
      write(node(i + 1), act, users, i + 1, failures),
    ]),
    ...strange.flatMap((act, i) =>
      ['read committed', 'repeatable read'].map((level, j) => intrude(act, level, users, i + j)),
    ),
  ]);
  running = false;
  await Promise.all(readers);
  expect(written.filter(({ status }) => status === 'rejected')).toEqual([]);
  expect(failures).toEqual([]);
  expect(chronicle.wrong).toEqual([]);
  // They have seen it happen.
  expect(chronicle.meanings.size).toBeGreaterThan(50);
  const client = await connect();
  expect(await wrongHeads(client)).toEqual([]);
  // When it is quiet all nodes say what the tables say, and a save of ours is the last word.
  for (const userId of users) {
    const version = await node(0).saveAdapter(smallAdapter(userId, 7));
    for (const each of nodes) await waitFor(async () => (await each.loadAdapterInfo(userId)).version === version);
  }
});

describe('a call of ours that loses against a stranger', () => {
  /** Makes the first inserts under `name` fail as Postgres would; counts them, rolled back ones too. */
  async function fail(state: string, name: string, times: number): Promise<() => Promise<number>> {
    const id = `tries_${state.toLowerCase()}_${times}`;
    await bench.sql(`create sequence ${id}`);
    await bench.sql(
      `create function ${id}() returns trigger language plpgsql as $$ begin
         if new.adapter_name = '${name}' and nextval('${id}') <= ${times} then
           raise exception 'lost' using errcode = '${state}'; end if;
         return new; end $$`,
    );
    await bench.sql(`create trigger ${id} before insert on lora_adapters for each row execute function ${id}()`);
    return async () => {
      const [row] = await bench.sql<{ tries: number }>(`select last_value::int as tries from ${id}`);
      return row?.tries ?? 0;
    };
  }

  test.each(['40P01', '40001', '23505'])('%s: sent again, twice at most, and then it says why', async (state) => {
    const userId = await bench.user();
    const node = await bench.open();
    const twice = await fail(state, `twice ${state}`, 2);
    expect(await node.saveAdapter(smallAdapter(userId), `twice ${state}`)).toBe(1);
    expect(await twice()).toBe(3);
    const thrice = await fail(state, `thrice ${state}`, 3);
    const refused = node.saveAdapter(smallAdapter(userId), `thrice ${state}`);
    await expect(refused).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    await expect(refused).rejects.toThrow(`refused (${state})`);
    expect(await thrice()).toBe(3);
    expect(await node.countAdapters(userId)).toBe(1);
    // No doubt is left: the next load asks, and the next save is the first.
    await expect(node.loadAdapter(userId, `thrice ${state}`)).rejects.toMatchObject({ code: 'ADAPTER_NOT_FOUND' });
    expect(await node.saveAdapter(smallAdapter(userId), `thrice ${state}`)).toBe(1);
  });

  test('a deadlock in which ours is the victim: it goes on when the stranger has committed', async () => {
    const userId = await bench.user();
    const node = await bench.open();
    for (const seed of [1, 2]) await node.saveAdapter(smallAdapter(userId, seed));
    const [stranger, third] = [await connect(), await connect()];
    const waiting = async (count: number) => {
      const blocked = await bench.sql(
        `select from pg_stat_activity where datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0`,
      );
      return blocked.length === count;
    };
    // 1. A third one holds a body, so that the delete stops between its user and its head.
    await third.query('begin');
    await third.query('select from lora_adapters where user_id = $1 for update', [userId]);
    const deleting = node.deleteAdapter(userId);
    await waitFor(() => waiting(1));
    // 2. A stranger holds the head, and waits for the user, without ever looking for a deadlock.
    await stranger.query('begin');
    await stranger.query(`set local deadlock_timeout = '1h'`);
    await stranger.query('select from lora_adapter_heads where user_id = $1 for update', [userId]);
    const locking = stranger.query('select from users where id = $1 for update', [userId]);
    await waitFor(() => waiting(2));
    // 3. The delete goes on to the head: a circle, and its own session is the one that finds it.
    const deadlocks = async () =>
      (
        await bench.sql<{ n: number }>(
          'select deadlocks::int as n from pg_stat_database where datname = current_database()',
        )
      )[0]?.n ?? 0;
    const before = await deadlocks();
    await third.query('commit');
    await locking;
    await stranger.query('commit');
    expect(await deleting).toBe(2);
    await expect(node.loadAdapter(userId)).rejects.toMatchObject({ code: 'ADAPTER_NOT_FOUND' });
    await node.close();
    await waitFor(async () => (await deadlocks()) > before);
  });
});
