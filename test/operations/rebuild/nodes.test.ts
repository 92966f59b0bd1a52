/**
 * Nodes and strangers that go on while the table is rebuilt, there and back, over connections whose plans are older than the
 * rebuild. Each step of it waits for traffic, so that every step meets some. No call fails, nothing that was saved is lost,
 * nothing that was deleted comes back, a revision is one body, and no reader goes back.
 */
import { createHash } from 'node:crypto';
import pg from 'pg';
import { afterAll, expect, test } from 'vitest';
import { encodeAdapter } from '../../../src/index.js';
import { Tables } from '../../../src/operations/tables.js';
import type { LoRAStorage } from '../../../src/storage/lora-storage.js';
import { insertNext, wrongHeads } from '../../postgres/support/writers.js';
import { smallAdapter, useStorage } from '../../support/storage.js';
import { withClient } from '../../support/template.js';
import { waitFor } from '../../support/wait.js';
import { into, type Moment, meeting, PLAIN } from './support.js';

const bench = useStorage();
const clients: pg.Client[] = [];
afterAll(() => Promise.all(clients.map((client) => client.end())));

async function connect(): Promise<pg.Client> {
  const client = new pg.Client(bench.postgresUrl);
  await client.connect();
  clients.push(client);
  return client;
}

/** A statement of every step, none under a lock that writers wait for: each of them waits until the traffic has gone on. */
const STEPS = [
  /^create table .*_next /,
  /reltuples/,
  /octet_length\(weights\) from/,
  /pg_blocking_pids/,
  /full join/,
  /^analyze/,
  /to_regclass\('.*_replaced'\) is not null/,
];

const digest = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

class Ledger {
  readonly faults: string[] = [];
  /** What there has to be in the end: of user/name/version, its bytes. */
  readonly saved = new Map<string, string>();
  readonly calls = { loads: 0, saves: 0, deletes: 0, strangers: 0, cascades: 0 };
  readonly #revisions = new Map<string, string>();
  readonly #last = new Map<string, number>();

  /** A reader's view of one key. */
  read(reader: string, key: string, revision: number, version: number, bytes: Buffer): void {
    const meaning = `${version} ${digest(bytes)}`;
    const known = this.#revisions.get(`${key} ${revision}`) ?? meaning;
    if (known !== meaning) this.faults.push(`${key} at ${revision}: ${known}, then ${meaning}`);
    this.#revisions.set(`${key} ${revision}`, meaning);
    const before = this.#last.get(`${reader} ${key}`) ?? 0;
    if (revision < before) this.faults.push(`${reader} ${key}: ${revision} after ${before}`);
    this.#last.set(`${reader} ${key}`, revision);
  }
}

/** Does `work` over and over until `over` says so, in its own time, and notes what it throws. */
async function forever(
  ledger: Ledger,
  over: () => boolean,
  what: keyof Ledger['calls'],
  work: (round: number) => Promise<void>,
) {
  for (let round = 0; !over(); round++) {
    await work(round).catch((error) => ledger.faults.push(`${what}: ${error.code} ${error.message}`));
    ledger.calls[what]++;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test('there and back under loads, saves, deletes, strangers and cascades', async () => {
  const users = await Promise.all(Array.from({ length: 8 }, () => bench.user()));
  const nodes: LoRAStorage[] = [await bench.open(), await bench.open({ memory: false, redis: false })];
  const [saver] = nodes as [LoRAStorage, LoRAStorage];
  for (const [i, userId] of users.entries()) {
    for (const seed of [1, 2, 3]) await saver.saveAdapter(smallAdapter(userId, 10 * i + seed), 'old');
    await saver.saveAdapter(smallAdapter(userId, i), 'ours');
  }
  const ledger = new Ledger();
  let over = false;
  const go = (what: keyof Ledger['calls'], work: (round: number) => Promise<void>) =>
    forever(ledger, () => over, what, work);
  const userAt = (round: number) => users[round % users.length] as string;
  const [rust, psql] = [await connect(), await connect()];

  const traffic = [
    ...nodes.map((node, n) =>
      go('loads', async (round) => {
        const [userId, name] = [userAt(round), round % 3 === 0 ? 'old' : 'ours'];
        const { revision, version, adapter } = await node.loadAdapterInfo(userId, name);
        ledger.read(`node ${n}`, `${userId} ${name}`, revision, version, encodeAdapter(adapter));
      }),
    ),
    go('saves', async (round) => {
      const adapter = smallAdapter(userAt(round), 1000 + round);
      const version = await saver.saveAdapter(adapter, 'ours');
      ledger.saved.set(`${adapter.userId} ours ${version}`, digest(encodeAdapter(adapter)));
    }),
    go('deletes', async (round) => {
      const adapter = smallAdapter(userAt(round), 5000 + round);
      const version = await saver.saveAdapter(adapter, 'short-lived');
      expect(await saver.deleteAdapterVersion(adapter.userId, 'short-lived', version)).toBe(true);
    }),
    go('strangers', async (round) => {
      const userId = userAt(round);
      const version = await insertNext(rust, userId, 'theirs', `${round}`);
      ledger.saved.set(`${userId} theirs ${version}`, digest(Buffer.from(`${round}`)));
      if (round % 4 !== 3) return;
      await rust.query(
        `update lora_adapters set weights = $3 where user_id = $1 and adapter_name = 'theirs' and version = $2`,
        [userId, version, Buffer.from('rewritten')],
      );
      ledger.saved.set(`${userId} theirs ${version}`, digest(Buffer.from('rewritten')));
    }),
    go('cascades', async () => {
      const { rows } = await psql.query('insert into users (id) values (gen_random_uuid()) returning id');
      await insertNext(psql, rows[0].id, 'short-lived');
      await psql.query('delete from users where id = $1', [rows[0].id]);
    }),
  ];

  /** Some more of each. */
  const traffics = async () => {
    const before = { ...ledger.calls };
    await waitFor(
      () => (Object.keys(before) as (keyof typeof before)[]).every((what) => ledger.calls[what] >= before[what] + 4),
      {
        what: 'more calls of each kind',
        timeoutMs: 30_000,
      },
    );
  };
  const tables = await Tables.open(bench.postgresUrl, 30_000);
  try {
    for (const target of [{ partitions: 4 }, PLAIN]) {
      let steps = 0;
      const met = async () => {
        steps++;
        await traffics();
      };
      const moments: Moment[] = STEPS.map((at) => ({ at, before: met }));
      await into(meeting(tables, ...moments), target);
      expect(steps).toBe(STEPS.length);
      await traffics();
    }
  } finally {
    over = true;
    await Promise.all(traffic);
    await tables.close();
  }

  expect(ledger.faults).toEqual([]);
  expect(await withClient(bench.postgresUrl, wrongHeads)).toEqual([]);
  const rows = await bench.sql<{ key: string; digest: string }>(
    `select user_id || ' ' || adapter_name || ' ' || version as key, encode(sha256(weights), 'hex') as digest from lora_adapters`,
  );
  const there = new Map(rows.map(({ key, digest }) => [key, digest]));
  expect([...ledger.saved].filter(([key, bytes]) => there.get(key) !== bytes)).toEqual([]);
  expect(rows.filter(({ key }) => key.includes('short-lived'))).toEqual([]);
});
