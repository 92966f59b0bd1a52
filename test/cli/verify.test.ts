/** `lora-store verify`: each kind of damage is found, once, and what is whole is not blamed. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { encodeAdapter, LoRAStorage } from '../../src/index.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { startProxy } from '../support/proxy.js';
import { smallAdapter } from '../support/storage.js';
import { withClient } from '../support/template.js';
import { waitFor } from '../support/wait.js';
import { lora, loraJson, startLora } from './support.js';

interface Found {
  rows: number;
  withoutChecksum: number;
  heads: number;
  findings: { userId: string; adapterName: string; version?: number; reason: string }[];
  complete: boolean;
}

let database: TestDatabase;
let users: string[];
const dropped: TestDatabase[] = [];

const args = (...more: string[]) => ['verify', '--postgres', database.url, ...more];

/** Three users, each with two versions of one adapter and one of another. */
beforeEach(async () => {
  database = await createDatabase();
  dropped.push(database);
  users = Array.from({ length: 3 }, () => randomUUID()).sort();
  await using storage = await LoRAStorage.open({ postgres: database.url, redis: false, createMissingUsers: true });
  for (const user of users) {
    for (const [seed, name] of [
      [1, 'default'],
      [2, 'default'],
      [3, 'other'],
    ] as const) {
      await storage.saveAdapter(smallAdapter(user, seed), name);
    }
  }
});
afterAll(() => Promise.all(dropped.map((one) => one.drop())));

/** As a disk that forgets would: no trigger sees it. */
async function damage(text: string, values: unknown[] = []): Promise<void> {
  await withClient(database.url, async (client) => {
    await client.query('set session_replication_role = replica');
    await client.query(text, values);
  });
}

test('nothing is bad: how much was looked at, and exit code 0', async () => {
  const found = await loraJson<Found>(args());
  expect(found).toEqual({ rows: 9, withoutChecksum: 0, heads: 6, findings: [], complete: true });
  expect(await lora(args())).toEqual({ code: 0, stdout: 'checked 9 rows, and 6 heads: nothing is bad\n', stderr: '' });
});

const ONE = 'where user_id = $1 and adapter_name = $2 and version = $3';

describe('of a row', () => {
  test.each<[string, string, (user: string) => unknown[], RegExp]>([
    ['bytes that end too early', 'weights = substr(weights, 1, 100), size_bytes = 100', () => [], /bytes end before/],
    ['a bit that fell over', `weights = set_byte(weights, 60, get_byte(weights, 60) # 1)`, () => [], /checksum/],
    ['a NaN', `weights = overlay(weights placing '\\x0000c07f' from 49)`, () => [], /NaN .*at byte 48/],
    [
      'another user’s record',
      'weights = $4, checksum = null',
      () => [encodeAdapter(smallAdapter(randomUUID(), 2))],
      /user id inside/,
    ],
    ['a size that is not its own', 'size_bytes = 7', () => [], /size_bytes is 7/],
  ])('%s', async (_, set, values, reason) => {
    const [, user = ''] = users;
    await damage(`update lora_adapters set ${set} ${ONE}`, [user, 'default', 2, ...values(user)]);
    const { findings, complete, rows } = await loraJson<Found>(args());
    expect(findings).toEqual([
      { userId: user, adapterName: 'default', version: 2, reason: expect.stringMatching(reason) },
    ]);
    expect([rows, complete]).toEqual([9, true]);
    const { code, stdout } = await lora(args());
    expect([code, stdout]).toEqual([1, expect.stringMatching(/ default +2 +.*\nchecked 9 rows.*: 1 bad\n$/s)]);
  });

  test('one without a checksum is counted, and not bad', async () => {
    await damage(`update lora_adapters set checksum = null ${ONE}`, [users[0], 'default', 1]);
    expect(await loraJson<Found>(args())).toMatchObject({ withoutChecksum: 1, findings: [] });
  });
});

describe('of a head', () => {
  test.each<[string, string, RegExp]>([
    [
      'the latest is not the newest',
      'update lora_adapter_heads set latest_version = 1',
      /names version 1 .*newest row is version 2/,
    ],
    [
      'the latest is not there',
      'update lora_adapter_heads set latest_version = 5, last_version = 5',
      /names version 5/,
    ],
    ['it knows of none', 'update lora_adapter_heads set latest_version = null', /names none/],
    ['a number could be given twice', 'update lora_adapter_heads set last_version = 1', /gave 1 as the last/],
  ])('%s', async (_, text, reason) => {
    await damage(`${text} where user_id = $1 and adapter_name = 'default'`, [users[2]]);
    const { findings } = await loraJson<Found>(args());
    expect(findings).toEqual([{ userId: users[2], adapterName: 'default', reason: expect.stringMatching(reason) }]);
  });

  test('rows that have none; and the statement of the page makes it', async () => {
    await damage(`delete from lora_adapter_heads where user_id = $1 and adapter_name = 'default'`, [users[2]]);
    const { findings } = await loraJson<Found>(args());
    expect(findings.map(({ version, reason }) => [version, /no head/.test(reason)])).toEqual([
      [1, true],
      [2, true],
    ]);
    await withClient(database.url, (client) =>
      client.query(`update lora_adapters set version = version where user_id = $1 and adapter_name = 'default'`, [
        users[2],
      ]),
    );
    expect((await loraJson<Found>(args())).findings).toEqual([]);
  });

  test('one whose adapter was deleted is as it must be', async () => {
    await using storage = await LoRAStorage.open({ postgres: database.url, redis: false });
    await storage.deleteAdapter(users[0] as string);
    expect(await loraJson<Found>(args())).toMatchObject({ rows: 7, heads: 6, findings: [] });
  });
});

test('--limit ends it, --user keeps to one', async () => {
  await damage(`update lora_adapters set size_bytes = 7`);
  await damage(`update lora_adapter_heads set latest_version = 5`);
  const limited = await loraJson<Found>(args('--limit', '4'));
  expect([limited.findings.length, limited.complete]).toEqual([4, false]);
  const one = await loraJson<Found>(args('--user', (users[1] as string).toUpperCase()));
  expect([one.rows, one.heads, one.findings.length]).toEqual([3, 2, 5]);
  expect(new Set(one.findings.map(({ userId }) => userId))).toEqual(new Set([users[1]]));
});

test('no user and no name is too early for it', async () => {
  const [nil, other] = ['00000000-0000-0000-0000-000000000000', users[0] as string];
  await damage('insert into users values ($1)', [nil]);
  await damage('insert into lora_adapter_heads select unnest($1::uuid[]), $2, 1, 1, 1', [[nil, other], '']);
  const reason = 'its head names version 1 as the latest, and the newest row is none';
  const faults = [nil, other].map((userId) => ({ userId, adapterName: '', reason }));
  expect(await loraJson<Found>(args())).toMatchObject({ heads: 8, findings: faults });
  expect(await loraJson<Found>(args('--user', other))).toMatchObject({ heads: 3, findings: faults.slice(1) });
});

test('goes on behind each page, and reads a share where that is asked for', async () => {
  await withClient(database.url, async (client) => {
    await client.query(`insert into lora_adapters (user_id, adapter_name, version, weights, size_bytes)
      select user_id, adapter_name, version + n, weights, size_bytes
      from lora_adapters cross join generate_series(10, 2500, 10) n where adapter_name = 'default'`);
    await client.query(`insert into lora_adapters (user_id, adapter_name, version, weights, size_bytes)
      select user_id, 'many ' || n, 1, weights, size_bytes
      from lora_adapters cross join generate_series(1, 700) n where adapter_name = 'other'`);
  });
  const rows = 9 + 3 * 2 * 250 + 3 * 700;
  const all = await loraJson<Found>(args());
  expect(all).toMatchObject({ rows, heads: 6 + 3 * 700, findings: [], complete: true });
  const some = await loraJson<Found>(args('--sample', '0.1'));
  expect(some).toMatchObject({ heads: 6 + 3 * 700, findings: [], complete: true });
  // A tenth of 3,609, give or take ten standard deviations.
  expect(Math.abs(some.rows - rows / 10)).toBeLessThan(180);
});

test('Ctrl-C between two batches: what was found is told, and no more is read', async () => {
  await damage(`update lora_adapters set size_bytes = 7`);
  const running = startLora(args('--rate', '1', '--limit', '100'));
  await firstRowRead();
  running.interrupt();
  const { code, stdout, stderr } = await running.ended;
  expect([code, stderr]).toEqual([130, expect.stringMatching(/lora-store: interrupted\n$/)]);
  expect(stdout).toMatch(/^ended early, after [12] rows, and 0 heads/m);
});

test('the server goes away between two batches: exit code 3, and what was found is told', async () => {
  await damage(`update lora_adapters set weights = substr(weights, 1, 100) ${ONE}`, [users[0], 'default', 1]);
  const { hostname, port } = new URL(database.url);
  const proxy = await startProxy(Number(port), hostname);
  try {
    const running = startLora(['verify', '--rate', '1', '--postgres', proxy.url(database.url)]);
    await firstRowRead();
    proxy.cut();
    const { code, stdout } = await running.ended;
    expect([code, stdout]).toEqual([3, expect.stringMatching(/bytes end before.*ended early/s)]);
  } finally {
    await proxy.close();
  }
});

/** At one a second the command pauses then, and the other eight are to come. */
async function firstRowRead(): Promise<void> {
  const read = `select from pg_stat_activity
    where datname = current_database() and state = 'idle' and query like '%k(user_id, adapter_name, version)%'`;
  await withClient(database.url, async (client) => {
    await waitFor(async () => (await client.query(read)).rows.length === 1, {
      what: 'the first row to have been read',
    });
  });
}
