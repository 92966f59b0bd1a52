/** Of a partitioned table, a load and a save touch the one partition of their user, whichever way they are planned. */
import type pg from 'pg';
import { beforeAll, describe, expect, test } from 'vitest';
import { encodeAdapter, UserLoRAAdapter } from '../../../src/index.js';
import { Tables } from '../../../src/operations/tables.js';
import type { Statement } from '../../../src/postgres/database.js';
import { COPY_VERSION, LOAD, LOAD_MANY, LOAD_VERSION, SAVE, SAVE_OVER } from '../../../src/tiers/statements.js';
import { user } from '../../cli/archives.js';
import { countingPool } from '../../storage/faults/support.js';
import { useStorage } from '../../support/storage.js';
import { withClient } from '../../support/template.js';
import { into } from './support.js';

const PARTITIONS = 8;
const bench = useStorage();
let partitionOf: Map<string, string>;

beforeAll(async () => {
  await bench.sql(
    `insert into users select ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid from generate_series(1, 40) n`,
  );
  const bytes = encodeAdapter(new UserLoRAAdapter(user(1), { rank: 2, inputDim: 3, outputDim: 4 }));
  await bench.sql(
    `insert into lora_adapters (user_id, version, weights, size_bytes)
     select id, v, $1, 1 from users, generate_series(1, 5) v`,
    [bytes],
  );
  const tables = await Tables.open(bench.postgresUrl, 20_000);
  await into(tables, { partitions: PARTITIONS }).finally(() => tables.close());
  const rows = await bench.sql<{ id: string; name: string }>(
    'select distinct user_id as id, tableoid::regclass::text as name from lora_adapters',
  );
  partitionOf = new Map(rows.map(({ id, name }) => [id, name]));
  // Of few rows the planner reads all of them, and is right to.
  await withClient(bench.postgresUrl, async (client) => {
    await client.query('set session_replication_role = replica');
    await client.query(`insert into lora_adapters (user_id, weights, size_bytes)
      select gen_random_uuid(), '\\x00', 1 from generate_series(1, 20000)`);
    await client.query(
      'insert into lora_adapter_heads select user_id, adapter_name, 1, 1, 1 from lora_adapters on conflict do nothing',
    );
    await client.query('analyze');
  });
});

interface Node {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly 'Actual Loops'?: number;
  readonly 'Subplans Removed'?: number;
  readonly Plans?: readonly Node[];
}

const nodesOf = (node: Node): Node[] => [node, ...(node.Plans ?? []).flatMap(nodesOf)];

/** As the package sends it: prepared, with its own text. In a transaction that is undone. */
async function planned(mode: 'custom' | 'generic', { text }: Statement, types: string, values: string) {
  return await withClient(bench.postgresUrl, async (client) => {
    await client.query(`set plan_cache_mode = force_${mode}_plan`);
    await client.query(`prepare asked ${types} as ${text}`);
    await client.query('begin');
    const explain = await client.query<{ 'QUERY PLAN': [{ Plan: Node }] }>(
      `explain (analyze, format json, costs off, timing off, summary off) execute asked ${values}`,
    );
    const [{ Plan }] = (explain.rows as [{ 'QUERY PLAN': [{ Plan: Node }] }])[0]['QUERY PLAN'];
    const locked = await lockedPartitions(client);
    const written = await client.query<{ name: string }>(
      `select distinct tableoid::regclass::text as name from lora_adapters where xmin = pg_current_xact_id()::xid`,
    );
    await client.query('rollback');
    const scans = nodesOf(Plan).filter((node) => node['Relation Name']?.startsWith('lora_adapters_h'));
    return {
      /** Opened at all. */
      planned: new Set(scans.map((node) => node['Relation Name'])),
      /** Read: the others are "never executed". */
      read: new Set(scans.filter((node) => node['Actual Loops'] !== 0).map((node) => node['Relation Name'])),
      removed: Math.max(0, ...nodesOf(Plan).map((node) => node['Subplans Removed'] ?? 0)),
      locked,
      written: written.rows.map(({ name }) => name),
    };
  });
}

async function lockedPartitions(client: pg.Client): Promise<Set<string>> {
  const { rows } = await client.query<{ name: string }>(
    `select relation::regclass::text as name from pg_locks join pg_class on pg_class.oid = relation
     where pid = pg_backend_pid() and relkind = 'r' and relation in (select inhrelid from pg_inherits where inhparent = 'lora_adapters'::regclass)`,
  );
  return new Set(rows.map(({ name }) => name));
}

const only = (n: number) => new Set([partitionOf.get(user(n))]);

describe.each([1, 2, 3])('of user %i', (n) => {
  test.each([
    ['load', LOAD, '(uuid, varchar, int8)', `('${user(n)}', 'default', -1)`],
    ['load of a version', LOAD_VERSION, '(uuid, varchar, int4)', `('${user(n)}', 'default', 2)`],
  ])(
    '%s: one partition is all that a custom plan opens, and that a generic one keeps',
    async (_, statement, types, values) => {
      const custom = await planned('custom', statement, types, values);
      expect([custom.planned, custom.read, custom.locked]).toEqual([only(n), only(n), only(n)]);
      const generic = await planned('generic', statement, types, values);
      expect([generic.read, generic.removed]).toEqual([only(n), PARTITIONS - 1]);
    },
  );

  test.each([
    ['save', SAVE, '(uuid, varchar, bytea, int4, bool, int8)', `('${user(n)}', 'default', '\\x00', 0, false, null)`],
    [
      'save over',
      SAVE_OVER,
      '(uuid, varchar, bytea, int4, int4, int8)',
      `('${user(n)}', 'default', '\\x00', 0, 5, null)`,
    ],
  ])('%s: one partition is written to, and no other locked', async (_, statement, types, values) => {
    for (const mode of ['custom', 'generic'] as const) {
      const plan = await planned(mode, statement, types, values);
      expect([mode, plan.read, plan.locked]).toEqual([mode, new Set(), only(n)]);
    }
  });
});

test('load of many: a partition that holds none of them is not read', async () => {
  const asked = [1, 2, 3];
  const values = `('{${asked.map(user)}}', '{default,default,default}', '{-1,-1,-1}')`;
  for (const mode of ['custom', 'generic'] as const) {
    const { read } = await planned(mode, LOAD_MANY, '(uuid[], varchar[], int8[])', values);
    expect([mode, read]).toEqual([mode, new Set(asked.map((n) => partitionOf.get(user(n))))]);
  }
});

test('rollback reads one partition and writes to it', async () => {
  const { read, written } = await planned(
    'custom',
    COPY_VERSION,
    '(uuid, varchar, int4, int4)',
    `('${user(1)}', 'default', 2, 9)`,
  );
  expect([read, written]).toEqual([only(1), [...only(1)]]);
});

test('it stays one round trip', async () => {
  const { pool, sent } = countingPool(bench.postgresUrl, 1);
  try {
    const node = await bench.open({ postgres: pool, memory: false, redis: false, changeFeed: false });
    await node.countAdapters(user(1));
    sent.length = 0;
    await node.loadAdapterVersion(user(1), 'default', 2).catch(() => undefined);
    await node.loadAdapter(user(1)).catch(() => undefined);
    expect(sent).toEqual(['load_version', 'load']);
    await node.close();
  } finally {
    await pool.end();
  }
});
