/** `lora-store migrate`; what migrations do is tested in test/postgres/migrate.test.ts. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { withClient } from '../support/template.js';
import { lora, loraJson } from './support.js';

interface Status {
  migrations: { name: string; appliedAt?: string }[];
  problem?: string;
}

let database: TestDatabase;
let postgres: string[];

beforeAll(async () => {
  database = await createDatabase({ template: 'empty' });
  postgres = ['--postgres', database.url];
});

afterAll(() => database?.drop());

test('status tells what is missing before, between and after, and exits 1 until all is well', async () => {
  const before = await loraJson<Status>(['migrate', 'status', ...postgres]);
  expect(before.migrations.length).toBeGreaterThan(3);
  expect(before.migrations.filter(({ appliedAt }) => appliedAt !== undefined)).toEqual([]);
  expect(before.problem).toContain('table lora_adapter_heads');

  await lora(['migrate', 'up', '--count', '2', ...postgres]);
  const between = await lora(['migrate', 'status', ...postgres]);
  expect(between.code).toBe(1);
  expect(between.stdout).toMatch(/^002_lora_adapters +\d{4}-/m);
  expect(between.stdout).toMatch(/^003_adapter_heads +not applied$/m);
  expect(between.stdout).toMatch(/migrate up/);

  const { ran } = await loraJson<{ ran: string[] }>(['migrate', 'up', ...postgres]);
  expect(ran).toEqual(before.migrations.slice(2).map(({ name }) => name));
  const after = await lora(['migrate', 'status', ...postgres]);
  expect([after.code, after.stdout]).toEqual([0, expect.stringMatching(/schema is that of this version/)]);
});

test('status sees what no migration recorded: a trigger that somebody took away', async () => {
  await withClient(database.url, (client) => client.query('drop trigger lora_adapters_settle_delete on lora_adapters'));
  const { code, stdout } = await lora(['migrate', 'status', ...postgres]);
  expect([code, stdout]).toEqual([1, expect.stringContaining('trigger lora_adapters_settle_delete')]);
});

test('status of a database that psql brought here: all is in place, and nothing recorded', async () => {
  const migrated = await createDatabase();
  try {
    await withClient(migrated.url, (client) => client.query('drop table lora_store_migrations'));
    const { code, stdout } = await lora(['migrate', 'status', '--postgres', migrated.url]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^003_adapter_heads +in place, not recorded$/m);
    expect(stdout).toMatch(/schema is that of this version/);
  } finally {
    await migrated.drop();
  }
});

test('status as a role that may not read which were applied: not readable, and still whether all is there', async () => {
  const migrated = await createDatabase();
  try {
    const limited = new URL(migrated.url);
    // Reads statistics, and no table of ours.
    limited.searchParams.set('options', '-c role=pg_monitor');
    const args = ['migrate', 'status', '--postgres', limited.href];
    const { code, stdout, stderr } = await lora(args);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^001_users +not readable$/m);
    expect(stdout).not.toMatch(/not applied/);
    expect(stdout).toMatch(/schema is that of this version/);
    const { migrations, ...rest } = await loraJson<Status>(args);
    expect(rest).toEqual({ recorded: false });
    expect(migrations[0]).toEqual({ name: '001_users' });
    // Who may read it is told when, and not that it was readable.
    expect(await loraJson<Status>(['migrate', 'status', '--postgres', migrated.url])).toEqual({
      migrations: migrations.map(({ name }) => ({ name, appliedAt: expect.stringMatching(/^\d{4}-/) })),
    });
  } finally {
    await migrated.drop();
  }
});

test('status asks a server that is there, and says so where it is not', async () => {
  const { code, stderr } = await lora(['migrate', 'status', '--postgres', 'postgres://127.0.0.1:1/none']);
  expect([code, stderr]).toEqual([3, expect.stringContaining('127.0.0.1:1')]);
});

test('up and down print what ran, and that there was nothing to run', async () => {
  const empty = await createDatabase({ template: 'empty' });
  try {
    const migrate = async (...args: string[]) => (await lora(['migrate', ...args], { DATABASE_URL: empty.url })).stdout;
    const up = await migrate('up');
    expect(up.split('\n').slice(0, 3)).toEqual(['up 001_users', 'up 002_lora_adapters', 'up 003_adapter_heads']);
    expect(await migrate('up')).toBe('nothing to apply\n');
    const unasked = await lora(['migrate', 'down', '--count', '9'], { DATABASE_URL: empty.url });
    expect([unasked.code, unasked.stderr]).toEqual([2, expect.stringContaining('add --yes')]);
    expect(await migrate('down', '--count', '9', '--yes')).toBe(
      up.replaceAll('up ', 'down ').trim().split('\n').reverse().join('\n').concat('\n'),
    );
    expect(await migrate('down', '--yes')).toBe('nothing to take away\n');
  } finally {
    await empty.drop();
  }
});

test.each([
  [['up'], 2, /^lora-store: no Postgres: set DATABASE_URL.*--postgres.*\n$/],
  [['sideways'], 2, /^error: .*Allowed choices are up, down, status\.\n$/],
  [['up', '--count', '1.5'], 2, /^error: .*It must be a whole number from 1 to 2147483647\.\n$/],
  [
    ['up', '--postgres', 'postgres://u:pw@127.0.0.1:1/x'],
    3,
    /^lora-store: cannot reach Postgres at 127.0.0.1:1\/x: .*\n$/,
  ],
])('%j ends with exit code %d and one sentence', async (args, code, sentence) => {
  expect(await lora(['migrate', ...args])).toEqual({ code, stdout: '', stderr: expect.stringMatching(sentence) });
});
