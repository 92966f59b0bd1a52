/** migrate(): up, down and up again; four processes at once; files that psql applied; and every way it refuses. */
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { SchemaError, StorageUnavailableError } from '../../src/errors.js';
import { migrate } from '../../src/postgres/migrate.js';
import { lora } from '../cli/support.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { endPool } from '../support/pools.js';
import { withClient } from '../support/template.js';
import { dumpSchema } from './support/dump.js';
import { applyFiles, waysToApply } from './support/migration-files.js';

const ALL = ['001_users', '002_lora_adapters', '003_adapter_heads', '004_checksums', '005_primary'];

let database: TestDatabase;
let postgres: string;
let pools: pg.Pool[];

beforeEach(async () => {
  pools = [];
  database = await createDatabase({ template: 'empty' });
  postgres = database.url;
});

afterEach(async () => {
  await Promise.all((pools ?? []).map(endPool));
  await database?.drop();
});

function newPool(config: pg.PoolConfig): pg.Pool {
  const pool = new pg.Pool(config);
  pools.push(pool);
  return pool;
}

/** Advisory locks in the database of a test; other tests have their own. */
const LOCKS_HELD = `select count(*)::int as held from pg_locks
  where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())`;

function schemaOf(url: string): Promise<string> {
  return withClient(url, dumpSchema);
}

async function goldenSchema(): Promise<string> {
  const migrated = await createDatabase({ template: 'migrated' });
  try {
    return await schemaOf(migrated.url);
  } finally {
    await migrated.drop();
  }
}

describe('migrate', () => {
  test('goes up, down and up again, in order, and says nothing', async () => {
    const words = [
      vi.spyOn(console, 'log'),
      vi.spyOn(console, 'info'),
      vi.spyOn(console, 'warn'),
      vi.spyOn(console, 'error'),
    ];
    expect(await migrate({ postgres })).toEqual(ALL);
    const schema = await schemaOf(postgres);
    expect(schema).toBe(await goldenSchema());
    expect(await migrate({ postgres })).toEqual([]);

    expect(await migrate({ postgres, direction: 'down' })).toEqual(['005_primary']);
    expect(await migrate({ postgres, direction: 'down', count: 9 })).toEqual(ALL.slice(0, -1).reverse());
    expect(await schemaOf(postgres)).toBe('');
    expect(await migrate({ postgres, direction: 'down' })).toEqual([]);

    expect(await migrate({ postgres, count: 2 })).toEqual(['001_users', '002_lora_adapters']);
    expect(await migrate({ postgres })).toEqual(ALL.slice(2));
    expect(await schemaOf(postgres)).toBe(schema);
    for (const word of words) expect(word).not.toHaveBeenCalled();
  });

  test('four processes at once: all succeed, each migration runs once', async () => {
    const outputs = await Promise.all(Array.from({ length: 4 }, () => lora(['migrate', 'up', '--postgres', postgres])));
    const lines = outputs.flatMap(({ stdout }) => stdout.trim().split('\n'));
    expect(lines.filter((line) => line.startsWith('up ')).sort()).toEqual(ALL.map((name) => `up ${name}`));
    expect(lines.filter((line) => line === 'nothing to apply')).toHaveLength(3);
    expect(await schemaOf(postgres)).toBe(await goldenSchema());
  });

  test('works in any schema, with every name in it', async () => {
    await withClient(postgres, (client) => client.query('create schema "Tenant 1"'));
    const tenant = `${postgres}?options=${encodeURIComponent('-c search_path="Tenant\\ 1"')}`;
    expect(await migrate({ postgres: tenant })).toEqual(ALL);
    const places = await withClient(postgres, (client) =>
      client.query<{ place: string }>(
        `select distinct relnamespace::regnamespace::text as place from pg_class where relname like any (array['lora%', 'users'])`,
      ),
    );
    expect(places.rows).toEqual([{ place: '"Tenant 1"' }]);
    const { rows } = await withClient(tenant, (client) =>
      client
        .query(`
        insert into users values ('00000000-0000-0000-0000-000000000001');
        insert into lora_adapters (user_id, weights, size_bytes) values ('00000000-0000-0000-0000-000000000001', '', 0);
      `)
        .then(() => client.query('select latest_version from lora_adapter_heads')),
    );
    expect(rows).toEqual([{ latest_version: 1 }]);
    expect(await migrate({ postgres: tenant, direction: 'down', count: 9 })).toEqual([...ALL].reverse());
  });

  test("leaves a caller's pool open, and gives its client back", async () => {
    const pool = newPool({ connectionString: postgres, max: 1 });
    expect(await migrate({ postgres: pool })).toEqual(ALL);
    expect([pool.totalCount, pool.idleCount]).toEqual([1, 1]);
    expect((await pool.query(LOCKS_HELD)).rows).toEqual([{ held: 0 }]);
  });

  test('takes a config, and DATABASE_URL', async () => {
    vi.stubEnv('DATABASE_URL', postgres);
    try {
      expect(await migrate({ count: 1 })).toEqual(['001_users']);
    } finally {
      vi.unstubAllEnvs();
    }
    expect(await migrate({ postgres: { connectionString: postgres, max: 3 } })).toEqual(ALL.slice(1));
  });

  test('rolls everything back when one migration fails', async () => {
    await withClient(postgres, (client) => client.query('create view lora_adapters as select 1 as id'));
    const pool = newPool({ connectionString: postgres });
    const failure = await migrate({ postgres: pool }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(SchemaError);
    expect(failure).toHaveProperty('message', expect.stringContaining('lora_adapters: it is no ordinary table'));
    expect(await schemaOf(postgres)).not.toContain('table users');
    // Neither the lock nor a transaction stays with the pool's client.
    expect((await pool.query(LOCKS_HELD)).rows).toEqual([{ held: 0 }]);
  });

  test('tells when all is applied and yet something is missing', async () => {
    await migrate({ postgres });
    await withClient(postgres, (client) => client.query('drop trigger lora_adapters_settle_delete on lora_adapters'));
    const failure = await migrate({ postgres }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(SchemaError);
    expect(failure).toHaveProperty(
      'message',
      expect.stringMatching(/without trigger lora_adapters_settle_delete on lora_adapters: apply .*migrations again/),
    );
    await applyFiles(postgres, 'up', ['003']);
    expect(await migrate({ postgres })).toEqual([]);
  });
});

describe.each(waysToApply())('files applied by %s', (_how, apply) => {
  test('make the same schema, may be applied twice, and are adopted', async () => {
    await applyFiles(postgres, 'up', ['00'], apply);
    await applyFiles(postgres, 'up', ['00'], apply);
    const golden = await goldenSchema();
    expect(await schemaOf(postgres)).toBe(golden);
    expect(await migrate({ postgres })).toEqual(ALL);
    expect(await schemaOf(postgres)).toBe(golden);
  });

  test('take back what migrate made', async () => {
    await migrate({ postgres });
    await applyFiles(postgres, 'down', ['00'], apply);
    expect(await schemaOf(postgres)).toBe('');
    await applyFiles(postgres, 'down', ['00'], apply);
  });
});

describe('migrate refuses', () => {
  test.each([
    [{ direction: 'sideways' as 'up' }, `option direction must be 'up' or 'down', not "sideways"`],
    [{ count: 0 }, 'option count must be a whole number from 1, not 0'],
    [{ count: 1.5 }, 'option count must be a whole number from 1, not 1.5'],
    [{ count: '2' as unknown as number }, 'option count must be a whole number from 1, not 2'],
    [{ postgres: '' }, 'no Postgres to migrate: set DATABASE_URL'],
    [{ postgres: 'mysql://u:secret@h/db' }, 'option postgres (or DATABASE_URL) must be a postgres:// URL'],
    [{ postgres: 'embedded:./data' }, 'needs the URL of a running server'],
    [{ postgres: 'postgres://u:secret@[' }, 'option postgres is no connection string'],
  ])('%j', async (options, message) => {
    const failure = await migrate({ postgres, ...options }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(TypeError);
    expect(String(failure)).toContain(message);
    expect(String(failure)).not.toContain('secret');
  });

  test.each([
    ['a port where nobody listens', (url: URL) => (url.port = '1'), /cannot reach Postgres at .*ECONNREFUSED/],
    ['a database that is not there', (url: URL) => (url.pathname = '/lora_nowhere'), /cannot reach .* does not exist/],
    ['a wrong password', (url: URL) => (url.password = 'se-cret'), /authentication failed at Postgres .*: correct/],
  ])('%s', async (_what, change, message) => {
    const url = new URL(postgres);
    change(url);
    const sources = [url.toString(), newPool({ connectionString: url.toString() })];
    for (const source of sources) {
      const failure = await migrate({ postgres: source }).catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(StorageUnavailableError);
      expect(String(failure)).toMatch(message);
      expect(String(failure)).not.toContain(url.password || 'se-cret');
    }
  });

  test('a connection that is cut while it waits for the lock', async () => {
    await withClient(postgres, async (holder) => {
      // The number of src/postgres/migrate.ts.
      await holder.query('select pg_advisory_lock(8317012604911773)');
      const pool = newPool({ connectionString: postgres, application_name: 'cut me' });
      const waiting = migrate({ postgres: pool }).catch((error: unknown) => error);
      await vi.waitUntil(
        async () =>
          (
            await holder.query(
              `select pg_terminate_backend(pid) from pg_stat_activity
               where application_name = 'cut me' and wait_event_type = 'Lock'`,
            )
          ).rowCount === 1,
        { timeout: 10_000, interval: 5 },
      );
      expect(await waiting).toBeInstanceOf(StorageUnavailableError);
      expect(pool.totalCount).toBe(0);
    });
  });
});
