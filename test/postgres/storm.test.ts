/**
 * Everybody writes at once, readers watch. What is asserted holds for every interleaving: a revision is one (version,
 * body) for ever, revisions of an adapter never go back, no head points at nothing, and no call of ours deadlocks with
 * another of ours. Bounded by a number of writes, not by time.
 */
import { createHash } from 'node:crypto';
import pg from 'pg';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { keyOf } from '../../src/coherence/key.js';
import type { Session } from '../../src/postgres/database.js';
import { deleteBodies } from '../../src/tiers/deletion.js';
import { PRUNE_VERSIONS } from '../../src/tiers/statements.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { insertNext, save, wrongHeads } from './support/writers.js';

const USERS = ['00000000-0000-0000-0000-00000000000a', '00000000-0000-0000-0000-00000000000b'];
const NAMES = ['default', 'other'];
const ROUNDS = 40;

let database: TestDatabase;
let clients: pg.Client[];

beforeEach(async () => {
  database = await createDatabase();
  clients = [];
  const client = await connect();
  for (const user of USERS) await client.query('insert into users values ($1)', [user]);
});

afterEach(async () => {
  await Promise.all((clients ?? []).map((client) => client.end()));
  await database?.drop();
});

async function connect(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  // Only a superuser may; all that is lost without it is a second for each deadlock of the strangers.
  await client.query(`set deadlock_timeout = '50ms'`).catch(() => undefined);
  clients.push(client);
  return client;
}

/** What a revision was seen to mean; refuses a second meaning. */
class Chronicle {
  readonly #meanings = new Map<string, string>();
  readonly wrong: string[] = [];

  get size(): number {
    return this.#meanings.size;
  }

  note(key: string, revision: string, version: number | null, body: Buffer | null): void {
    const place = `${key} revision ${revision}`;
    const meaning = `version ${version} ${body === null ? 'gone' : createHash('sha256').update(body).digest('hex')}`;
    const known = this.#meanings.get(place) ?? meaning;
    if (known !== meaning) this.wrong.push(`${place}: ${known}, then ${meaning}`);
    this.#meanings.set(place, known);
  }
}

interface Row {
  revision: string;
  latest: number | null;
  weights: Buffer | null;
}

/** Reads head and body as a load does, until it is told to stop. */
async function watch(chronicle: Chronicle, stopped: () => boolean): Promise<number> {
  const client = await connect();
  const last = new Map<string, bigint>();
  let reads = 0;
  for (; !stopped() || reads < 100; reads++) {
    const user = USERS[reads % 2] ?? '';
    const name = NAMES[(reads >> 1) % 2] ?? '';
    const { rows } = await client.query<Row>({
      name: 'load',
      text: `select h.revision, h.latest_version as latest, b.weights from lora_adapter_heads h
             left join lora_adapters b on b.user_id = h.user_id and b.adapter_name = h.adapter_name and b.version = h.latest_version
             where h.user_id = $1 and h.adapter_name = $2`,
      values: [user, name],
    });
    const [row] = rows;
    if (row === undefined) continue;
    const key = `${user} ${name}`;
    if (row.latest !== null && row.weights === null) chronicle.wrong.push(`${key}: head points at nothing`);
    const before = last.get(key) ?? 0n;
    if (BigInt(row.revision) < before) chronicle.wrong.push(`${key}: ${row.revision} after ${before}`);
    last.set(key, BigInt(row.revision));
    chronicle.note(key, row.revision, row.latest, row.weights);
  }
  return reads;
}

type Write = (client: pg.Client, user: string, name: string, round: number) => Promise<unknown>;

/** One writer: ROUNDS writes over all adapters, each sent again while it loses a race. Returns the states it lost with. */
async function writer(write: Write, offset: number): Promise<string[]> {
  const client = await connect();
  const lost: string[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const user = USERS[(round + offset) % 2] ?? '';
    const name = NAMES[((round + offset) >> 1) % 2] ?? '';
    for (let tries = 1; ; tries++) {
      try {
        await write(client, user, name, round);
        break;
      } catch (error) {
        await client.query('rollback');
        const { code = '', detail, where } = error as pg.DatabaseError;
        // Deadlock, serialization, a number already taken, a user who has just been deleted.
        if (!['40P01', '40001', '23505', '23503'].includes(code) || tries === 50) throw error;
        lost.push(code === '40P01' ? `${code}: ${detail}\n${where}` : code);
      }
    }
  }
  return lost;
}

const processOf = (client: pg.Client) => (client as unknown as { processID: number }).processID;

/** `committed` hears of what was saved, and only where that is committed by then. */
const ours =
  (committed?: Chronicle): Write =>
  async (client, user, name, round) => {
    const body = `saved in round ${round} by ${processOf(client)}`;
    const saved = await save(client, user, name, body).catch((error: Error) => {
      if (error.message !== 'the save came back empty') throw error;
    });
    if (saved) committed?.note(`${user} ${name}`, saved.revision, saved.version, Buffer.from(body));
  };

const stranger: Write = (client, user, name, round) =>
  insertNext(client, user, name, `inserted in round ${round} by ${processOf(client)}`);

const KEY = 'where user_id = $1 and adapter_name = $2';

/** Statements of the package on a client of the test's, which hears of every deadlock: the package would send them again. */
const sessionOf = (client: pg.Client): Session => ({
  rows: async ({ name, text }, values) =>
    (await client.query({ name, text, values: [...values], rowMode: 'array' })).rows as never[],
});

const deleteAll: Write = async (client, user, name) => {
  await client.query('begin');
  await deleteBodies(sessionOf(client), keyOf(user, name));
  await client.query('commit');
};

/** All but the newest two versions of every adapter, a few rows at a time. */
const prune: Write = (client) => {
  const keys = USERS.flatMap((user) => NAMES.map((name) => [user, name]));
  return sessionOf(client).rows(PRUNE_VERSIONS, [keys.map(([user]) => user), keys.map(([, name]) => name), 2, 5]);
};

/** A copy of the oldest version there is, as the newest. FOR SHARE: or it brings back what a delete is taking away. */
const rollback: Write = async (client, user, name) => {
  await client.query('begin');
  await client.query('select from users where id = $1 for key share', [user]);
  const { rows } = await client.query(`select weights from lora_adapters ${KEY} order by version limit 1 for share`, [
    user,
    name,
  ]);
  if (rows.length === 1) await save(client, user, name, rows[0].weights);
  await client.query('commit');
};

const inTransaction =
  (level: string, write: Write): Write =>
  async (client, ...key) => {
    await client.query(`begin isolation level ${level}`);
    await write(client, ...key);
    await client.query('commit');
  };

async function run(writes: readonly Write[], chronicle: Chronicle): Promise<string[]> {
  let running = true;
  const readers = [1, 2].map(() => watch(chronicle, () => !running));
  const results = await Promise.allSettled(writes.map(writer));
  running = false;
  await Promise.all(readers);
  const failure = results.find((result) => result.status === 'rejected');
  if (failure) throw failure.reason;
  return results.flatMap((result) => (result.status === 'fulfilled' ? result.value : []));
}

test('all kinds of writers at once', async () => {
  const chronicle = new Chronicle();
  const writes: Write[] = [
    ours(chronicle),
    ours(chronicle),
    ours(chronicle),
    stranger,
    stranger,
    inTransaction('repeatable read', stranger),
    inTransaction('serializable', ours()),
    deleteAll,
    prune,
    rollback,
    inTransaction('repeatable read', deleteLatest),
    (client, user, name, round) =>
      client.query(`update lora_adapters set weights = $3 where user_id = $1 and adapter_name = $2`, [
        user,
        name,
        `rewritten ${round}`,
      ]),
    // The cleanup of the Rust service's manual.
    (client) =>
      client.query(`delete from lora_adapters where id in (select id from (select id, row_number() over (
        partition by user_id, adapter_name order by version desc) as rn from lora_adapters) sub where rn > 3)`),
    async (client, user) => {
      await client.query('delete from users where id = $1', [user]);
      await client.query('insert into users values ($1) on conflict do nothing', [user]);
    },
    async (client, _user, _name, round) => {
      if (round % 10 === 9) await client.query('truncate lora_adapters');
    },
  ];
  await run(writes, chronicle);
  const client = await connect();
  expect(chronicle.wrong).toEqual([]);
  expect(await wrongHeads(client)).toEqual([]);
  // The readers have seen it happen, not an empty table.
  expect(chronicle.size).toBeGreaterThan(100);
});

async function deleteLatest(client: pg.Client, user: string, name: string): Promise<void> {
  await client.query(
    `delete from lora_adapters where user_id = $1 and adapter_name = $2
     and version = (select max(version) from lora_adapters where user_id = $1 and adapter_name = $2)`,
    [user, name],
  );
}

test.each([
  ['saves, deletes, prunes and rollbacks of ours', [deleteAll, deleteAll, prune, rollback, rollback]],
  ['saves of ours and strangers who insert', [stranger, stranger, stranger]],
])('%s: nobody deadlocks', async (_who, others) => {
  const chronicle = new Chronicle();
  const lost = await run([ours(chronicle), ours(chronicle), ours(chronicle), ...others], chronicle);
  expect(lost.filter((state) => state.startsWith('40P01'))).toEqual([]);
  expect(chronicle.wrong).toEqual([]);
  expect(await wrongHeads(await connect())).toEqual([]);
});
