/** The doctor's checks: each finds the fault that is provoked here, and where its mend can be executed, that mends it. */
import { Redis } from 'ioredis';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { LoRAStorage, migrate } from '../../src/index.js';
import type { Cache } from '../../src/operations/audit-redis.js';
import { postgresClock, redisClock } from '../../src/operations/doctor/clocks.js';
import { bounded, examine } from '../../src/operations/doctor/examine.js';
import type { Check, Level, Patient } from '../../src/operations/doctor/finding.js';
import { deadRows, planOfLoad, statistics } from '../../src/operations/doctor/planner.js';
import { judgeRedisVersion, redisMemory } from '../../src/operations/doctor/redis.js';
import { indexes, schema, weightsStorage } from '../../src/operations/doctor/schema.js';
import { connections, durability, judgeTls, judgeVersion } from '../../src/operations/doctor/server.js';
import { latencyOf } from '../../src/operations/doctor/tiers.js';
import { binaryResults, changeFeed } from '../../src/operations/doctor/wires.js';
import { Tables } from '../../src/operations/tables.js';
import { insertAdapters, proxyTo } from '../storage/faults/support.js';
import { endPool } from '../support/pools.js';
import { startPostgres } from '../support/postgres.js';
import { type OwnServer, startRedis } from '../support/redis.js';
import { type Bench, useStorage } from '../support/storage.js';
import { withClient } from '../support/template.js';
import { waitFor } from '../support/wait.js';

const bench = useStorage();
let server: OwnServer;
let redis: Redis;
const opened: Tables[] = [];

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
});
afterAll(async () => {
  await redis?.quit();
  await server?.stop();
});
beforeEach(() => redis.flushall());

afterEach(async () => {
  await Promise.all(opened.splice(0).map((tables) => tables.close()));
});

/** New connections each time, which have the settings of now. Closed after the test. */
function patient(more: Partial<Patient> = {}, postgres: string | pg.Pool = bench.postgresUrl): Patient {
  const tables = Tables.openUnchecked(postgres, 5000);
  opened.push(tables);
  const cache = async (): Promise<Cache> => ({ client: redis, namespace: 'lora' });
  const options = { postgres: postgres as string, redis: server.url };
  return { tables, cache, options, now: Date.now, ...more };
}

/** Each statement by itself, as psql sends what is pasted. */
async function paste(mend: string | undefined, url = bench.postgresUrl): Promise<void> {
  await withClient(url, async (client) => {
    for (const text of (mend as string)
      .replace(/--.*/g, '')
      .split(';')
      .filter((one) => one.trim() !== ''))
      await client.query(text);
  });
}

/** The words after `redis-cli`. */
async function redisCli(mend: string | undefined): Promise<void> {
  const [command = '', ...words] = (mend as string)
    .replace(/^redis-cli (-u "\$REDIS_URL" )?/, '')
    .replaceAll("'", '')
    .split(' ');
  await redis.call(command, ...words);
}

/** Its level, by connections that are gone afterwards. */
async function levelOf(check: Check, postgres?: string): Promise<Level> {
  const one = patient({}, postgres);
  const { level } = await check(one);
  opened.splice(opened.indexOf(one.tables), 1);
  await one.tables.close();
  return level;
}

/** The fault is found, and what the finding says to do makes it none. */
async function mends(check: Check, level: 'warning' | 'failure', found: RegExp): Promise<void> {
  const before = await check(patient());
  expect(before).toEqual({ level, found: expect.stringMatching(found), mend: expect.any(String) });
  await paste(before.mend);
  await waitFor(async () => (await levelOf(check)) === 'ok', { what: `${before.mend} to have mended it` });
}

describe('Postgres', () => {
  test('an old version, and a network without TLS', () => {
    expect(judgeVersion(120_020, '12.20')).toMatchObject({ level: 'failure', found: expect.stringContaining('12.20') });
    expect(judgeVersion(130_000, '13.0').level).toBe('ok');
    expect(judgeTls(true, null)).toMatchObject({ level: 'warning', mend: expect.stringContaining('sslmode') });
    expect([judgeTls(false, null).level, judgeTls(true, 'TLSv1.3')]).toEqual(['ok', { level: 'ok', found: 'TLSv1.3' }]);
  });

  test('commits that a crash takes back: off for a database, and off for the whole server', async () => {
    const own = await startPostgres({ fsync: 'on', full_page_writes: 'on' });
    try {
      const look = () => durability(patient({}, own.url));
      expect((await look()).level).toBe('ok');
      await paste('alter system set synchronous_commit = off; select pg_reload_conf()', own.url);
      await waitFor(async () => (await levelOf(durability, own.url)) === 'warning');
      expect(await look()).toMatchObject({ found: expect.stringMatching(/^synchronous_commit off/) });
      await paste((await look()).mend, own.url);
      await waitFor(async () => (await levelOf(durability, own.url)) === 'ok');

      const [name] = new URL(own.url).pathname.split('/').slice(1);
      await paste(`alter database "${name}" set synchronous_commit = off`, own.url);
      expect((await look()).mend).toMatch(/^alter database/);
      await paste((await look()).mend, own.url);
      expect((await look()).level).toBe('ok');
    } finally {
      await Promise.all(opened.splice(0).map((tables) => tables.close()));
      await own.stop();
    }
  });

  test('more nodes than there are connections for', async () => {
    const own = await startPostgres({ max_connections: '20' });
    try {
      await migrate({ postgres: own.url });
      const look = () => connections(patient({}, own.url));
      expect((await look()).level).toBe('ok');
      await using one = await LoRAStorage.open({ postgres: own.url, redis: false });
      await using other = await LoRAStorage.open({ postgres: own.url, redis: false });
      expect((await Promise.all([one.health(), other.health()])).map(({ changeFeed }) => changeFeed)).toEqual([
        'live',
        'live',
      ]);
      expect(await look()).toEqual({
        level: 'warning',
        found: expect.stringContaining('2 nodes with a change feed, which take 22'),
        mend: expect.stringMatching(/^alter system set max_connections = 47;/),
      });
    } finally {
      await Promise.all(opened.splice(0).map((tables) => tables.close()));
      await own.stop();
    }
  });
});

describe('the schema', () => {
  test('a trigger that is disabled', async () => {
    await bench.sql('alter table lora_adapters disable trigger lora_adapters_settle_delete');
    await mends(schema, 'failure', /trigger lora_adapters_settle_delete/);
  });

  test('migrations that were not applied, and what somebody took away afterwards', async () => {
    await bench.sql('drop trigger lora_adapters_settle_delete on lora_adapters');
    const gone = await schema(patient());
    expect(gone).toMatchObject({
      level: 'failure',
      mend: expect.stringMatching(/^cat .*\/migrations\/\*\.up\.sql \| psql/),
    });
    await migrate({ postgres: bench.postgresUrl, direction: 'down', count: 3 });
    expect(await schema(patient())).toMatchObject({ level: 'failure', mend: 'npx lora-store migrate up' });
    await migrate({ postgres: bench.postgresUrl });
    expect((await schema(patient())).level).toBe('ok');
  });

  test('an index that is not there, or not valid', async () => {
    await bench.sql('drop index idx_lora_adapters_created');
    await mends(indexes, 'warning', /missing: lora_adapters \(created_at\)/);
    await bench.sql(`update pg_index set indisvalid = false where indexrelid = 'idx_lora_adapters_created'::regclass`);
    await mends(indexes, 'warning', /invalid: lora_adapters \(created_at\)/);
    await bench.sql('alter table lora_adapter_heads drop constraint lora_adapter_heads_pkey');
    await mends(indexes, 'failure', /missing: lora_adapter_heads/);
    await bench.sql('alter table lora_adapters drop constraint lora_adapters_user_id_adapter_name_version_key');
    await mends(indexes, 'failure', /missing: lora_adapters \(user_id, adapter_name, version\)/);
  });

  test('weights that are compressed', async () => {
    await bench.sql('alter table lora_adapters alter column weights set storage extended');
    await mends(weightsStorage, 'warning', /compressed/);
  });
});

describe('the planner', () => {
  /** By a session that ends: one that goes on keeps for itself for a while what it changed. */
  const counted: Bench['sql'] = async <Row extends pg.QueryResultRow>(text: string, values?: unknown[]) =>
    await withClient(bench.postgresUrl, async (client) => (await client.query<Row>(text, values)).rows);

  beforeAll(async () => {
    for (const table of ['lora_adapters', 'lora_adapter_heads'])
      await bench.sql(`alter table ${table} set (autovacuum_enabled = off)`);
    await insertAdapters({ ...bench, sql: counted }, 3000);
  });

  test('rows that nobody counted, or that changed since', async () => {
    await waitFor(async () => (await levelOf(statistics)) === 'warning', { what: 'the rows to be known of' });
    await mends(statistics, 'warning', /lora_adapters: never counted/);
    await counted('update lora_adapters set training_iterations = 1');
    await waitFor(async () => (await levelOf(statistics)) === 'warning', {
      what: 'the changes to be known of',
    });
    await mends(statistics, 'warning', /about 3000 rows, \d+ changed since/);
  });

  test('rows that are dead', async () => {
    await counted('update lora_adapters set training_iterations = 2');
    await waitFor(async () => (await levelOf(deadRows)) === 'warning', {
      what: 'the dead rows to be known of',
    });
    await mends(deadRows, 'warning', /lora_adapters: \d{4} dead/);
  });

  test('a load that reads the whole table', async () => {
    expect((await planOfLoad(patient())).found).toBe('Index Scan on lora_adapter_heads, Index Scan on lora_adapters');
    const [{ name } = { name: '' }] = await bench.sql<{ name: string }>('select current_database() as name');
    await bench.sql(`alter database "${name}" set enable_indexscan = off`);
    await bench.sql(`alter database "${name}" set enable_bitmapscan = off`);
    await mends(planOfLoad, 'failure', /Seq Scan on lora_adapter/);
  });
});

describe('the wires', () => {
  test('a change feed of which no word comes back', async () => {
    const proxy = await proxyTo(bench.postgresUrl);
    const behind = patient({}, proxy.url(bench.postgresUrl));
    expect((await changeFeed(behind)).level).toBe('ok');
    proxy.mute('answers');
    expect(await bounded(changeFeed, behind)).toMatchObject({
      level: 'failure',
      found: expect.stringMatching(/^nodes do not hear of writes/),
    });
    proxy.cut();
    await proxy.close();
  });

  test('a pool that reads hex', async () => {
    expect((await binaryResults(patient())).level).toBe('ok');
    const pool = new pg.Pool({ connectionString: bench.postgresUrl });
    expect(await binaryResults(patient({}, pool))).toMatchObject({ level: 'warning', mend: expect.any(String) });
    await endPool(pool);
  });

  test('clocks that differ', async () => {
    expect([(await postgresClock(patient())).level, (await redisClock(patient())).level]).toEqual(['ok', 'ok']);
    const late = patient({ now: () => Date.now() - 3_600_000 });
    expect(await postgresClock(late)).toMatchObject({
      level: 'warning',
      found: expect.stringMatching(/^3[56]\d{5} ms ahead/),
    });
    expect(await redisClock(late)).toMatchObject({
      level: 'warning',
      found: expect.stringMatching(/^3[56]\d{5} ms ahead/),
    });
  });

  test('tiers that take longer than they should', async () => {
    await insertAdapters(bench, 3);
    for (const tier of ['memory', 'redis', 'postgres'] as const) {
      expect((await latencyOf(tier)(patient())).found).toMatch(/^p50 .* of \d+ loads/);
    }
    const proxy = await proxyTo(bench.postgresUrl);
    proxy.delay(20);
    const far = patient();
    const options = { ...far.options, postgres: proxy.url(bench.postgresUrl) };
    expect(await latencyOf('postgres')({ ...far, options })).toMatchObject({
      level: 'warning',
      found: expect.stringMatching(/target/),
      mend: expect.stringMatching(/^psql /),
    });
    await proxy.close();
    const nobody = { ...far, options: { ...far.options, redis: 'redis://127.0.0.1:1' } };
    // Not `warm`, which needs what is missing.
    expect(await latencyOf('redis')(nobody)).toEqual({
      level: 'warning',
      found: expect.stringMatching(/Redis does not answer/),
    });
  });
});

describe('Redis', () => {
  test('an old version', () => {
    expect(judgeRedisVersion('5.0.14').level).toBe('warning');
    expect(judgeRedisVersion('7.0.15').level).toBe('ok');
  });

  test('one that refuses when it is full', async () => {
    await redis.config('SET', 'maxmemory', '100mb', 'maxmemory-policy', 'noeviction');
    const before = await redisMemory(patient());
    expect(before).toMatchObject({ level: 'warning', found: expect.stringMatching(/refuses every write/) });
    await redisCli(before.mend);
    expect((await redisMemory(patient())).level).toBe('ok');
  });

  test('a Redis that is away fails its checks, and no other; without one they are well', async () => {
    const findings = await examine(patient({ cache: () => Promise.reject(new Error('no such Redis')) }));
    const failed = findings.filter(({ level }) => level === 'failure').map(({ name, found }) => [name, found]);
    expect(failed).toEqual([
      ['redis version', 'could not be checked: no such Redis'],
      ...['database', 'memory', 'commands', 'pub/sub', 'clock'].map((what) => [
        `redis ${what}`,
        'could not be checked, as redis version',
      ]),
    ]);
    const without = await examine(patient({ cache: undefined }));
    expect(without.filter(({ level }) => level === 'failure')).toEqual([]);
    expect(without.length).toBe(findings.length);
  });
});

test('a check that does not end has failed', async () => {
  expect(await bounded(() => new Promise(() => {}), patient(), 10)).toMatchObject({
    level: 'failure',
    found: expect.stringMatching(/within 10 ms/),
  });
});
