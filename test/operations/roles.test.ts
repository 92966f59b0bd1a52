/** docs/sql/roles.sql and grants.sql on a server of their own: each role does its work, and nothing beside it. */
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { encodeAdapter } from '../../src/adapter/codec.js';
import { LoRAStorage, type LoRAStorageOptions } from '../../src/index.js';
import { schema } from '../../src/operations/doctor/schema.js';
import { Tables } from '../../src/operations/tables.js';
import { migrate } from '../../src/postgres/migrate.js';
import { migrationStatus } from '../../src/postgres/migration-status.js';
import type { OwnServer } from '../support/postgres.js';
import { type PostgresTools, startPostgresWithTools } from '../support/postgres-tools.js';
import { root } from '../support/root.js';
import { smallAdapter } from '../support/storage.js';
import { withClient } from '../support/template.js';

const [roles, grants] = ['roles', 'grants'].map((name) => readFileSync(join(root, `docs/sql/${name}.sql`), 'utf8')) as [
  string,
  string,
];

const NAMES = ['lora_owner', 'lora_app', 'lora_trainer', 'lora_reader', 'lora_backup'] as const;
type Role = (typeof NAMES)[number];

let server: OwnServer;
let tools: PostgresTools;
/** A user with an adapter of one version. */
const anna = randomUUID();

const asAdmin = (sql: string) => withClient(server.url, (client) => client.query(sql));

function urlOf(role: Role): string {
  const url = new URL(server.url);
  url.username = role;
  url.password = `password of ${role}`;
  return url.href;
}

/** SQLSTATE of the refusal; 'ok' where it is done, and then undone. */
async function attempt(role: Role, sql: string): Promise<string> {
  return await withClient(urlOf(role), async (client) => {
    await client.query('begin');
    return await client.query(sql).then(
      () => 'ok',
      (error) => error.code,
    );
  });
}

function opened(role: Role, options: LoRAStorageOptions = {}): Promise<LoRAStorage> {
  return LoRAStorage.open({ postgres: urlOf(role), redis: false, postgresTimeoutMs: 10_000, ...options });
}

/** Everything a storage does, by way of every statement it sends. */
async function wholeJob(role: Role): Promise<void> {
  const userId = randomUUID();
  const node = await opened(role, { createMissingUsers: true });
  try {
    expect(await node.health()).toMatchObject({ postgres: 'up', changeFeed: 'live' });
    await node.saveAdapter(smallAdapter(userId, 1));
    await node.saveAdapter(smallAdapter(userId, 2), 'default', { expectedVersion: 1 });
    await node.rollbackAdapter(userId, 'default', 1);
    const other = await opened(role);
    try {
      expect(encodeAdapter(await other.loadAdapter(userId))).toEqual(encodeAdapter(smallAdapter(userId, 1)));
      expect(await other.loadAdapters([{ userId }, { userId, adapterName: 'none' }])).toHaveLength(2);
    } finally {
      await other.close();
    }
    await node.loadAdapterVersion(userId, 'default', 2);
    await node.listAdapters(userId);
    await node.countAdapters(userId);
    await node.getStorageStats();
    expect(await node.deleteAdapterVersion(userId, 'default', 3)).toBe(true);
    expect(await node.pruneVersions({ keepLatest: 1, userId })).toBe(1);
    await node.pruneOlderThan({ olderThanDays: 30 });
    expect(await node.deleteAdapter(userId)).toBe(1);
    await node.saveAdapter(smallAdapter(userId, 4), 'last');
    expect(await node.forgetUser(userId)).toBe(1);
  } finally {
    await node.close();
  }
}

beforeAll(async () => {
  ({ server, tools } = await startPostgresWithTools());
  await asAdmin(roles);
  for (const role of NAMES) await asAdmin(`alter role ${role} password 'password of ${role}'`);
  await migrate({ postgres: urlOf('lora_owner') });
  await withClient(urlOf('lora_owner'), (client) => client.query(grants));
  const app = await opened('lora_app', { createMissingUsers: true });
  await app.saveAdapter(smallAdapter(anna));
  await app.close();
});

afterAll(() => server?.stop());

describe('lora_owner', () => {
  test('migrates up, down and up again, and the scripts may be run again', async () => {
    expect(await migrate({ postgres: urlOf('lora_owner'), direction: 'down' })).toEqual(['005_primary']);
    expect(await migrate({ postgres: urlOf('lora_owner') })).toEqual(['005_primary']);
    await asAdmin(roles);
    await withClient(urlOf('lora_owner'), (client) => client.query(grants));
  });

  test('is no superuser, and makes no roles and no databases', async () => {
    const { rows } = await asAdmin(
      `select from pg_roles where rolname like 'lora\\_%' and (rolsuper or rolcreaterole or rolcreatedb or rolbypassrls)`,
    );
    expect(rows).toEqual([]);
  });
});

describe('lora_app', () => {
  test('runs a storage: every call, with the change feed', () => wholeJob('lora_app'));

  // Each of these is needed: without it the same job is refused.
  describe.each([
    ['users', ['select (id)', 'insert (id)', 'update (id)']],
    ['lora_adapters', ['select', 'insert', 'delete', 'update (updated_at)']],
    ['lora_adapter_heads', ['select', 'insert', 'update', 'delete']],
  ])('on %s', (table, needed) => {
    afterEach(() => withClient(urlOf('lora_owner'), (client) => client.query(grants)));

    test.each(needed)('needs %s', async (right) => {
      await asAdmin(`revoke ${right} on ${table} from lora_app`);
      await expect(wholeJob('lora_app')).rejects.toThrow('permission denied');
    });
  });

  test('saves for users there are without the right to insert any', async () => {
    await asAdmin('revoke insert (id) on users from lora_app');
    const node = await opened('lora_app');
    try {
      expect(await node.saveAdapter(smallAdapter(anna), 'without insert')).toBe(1);
      await expect(node.saveAdapter(smallAdapter(randomUUID()))).rejects.toMatchObject({ code: 'USER_NOT_FOUND' });
    } finally {
      await node.close();
      await withClient(urlOf('lora_owner'), (client) => client.query(grants));
    }
  });
});

describe('lora_trainer', () => {
  const add = `insert into lora_adapters (user_id, adapter_name, version, weights, size_bytes)
    select $1, 'default', max(version) + 1, $2, $3 from lora_adapters where user_id = $1 and adapter_name = 'default'
    returning id, version`;

  test('adds a version, which a storage hears of and loads', async () => {
    const bytes = encodeAdapter(smallAdapter(anna, 5));
    const node = await opened('lora_reader');
    try {
      const { version } = await node.loadAdapterInfo(anna);
      const heard = new Promise<number>((resolve) => node.on('invalidated', ({ revision }) => resolve(revision)));
      const { rows } = await withClient(urlOf('lora_trainer'), (client) =>
        client.query(add, [anna, bytes, bytes.length]),
      );
      expect(rows[0].version).toBe(version + 1);
      await heard;
      expect(encodeAdapter(await node.loadAdapter(anna))).toEqual(bytes);
    } finally {
      await node.close();
    }
  });
});

describe('lora_reader', () => {
  test('loads and lists; a save, a rollback and a deletion are refused with what to do', async () => {
    const node = await opened('lora_reader');
    try {
      await node.loadAdapter(anna);
      await node.loadAdapterVersion(anna, 'default', 1);
      await node.loadAdapters([{ userId: anna }]);
      expect((await node.listAdapters(anna)).length).toBeGreaterThan(0);
      await node.getStorageStats();
      expect(await node.health()).toMatchObject({ changeFeed: 'live' });
      const writes = [
        () => node.saveAdapter(smallAdapter(anna)),
        () => node.rollbackAdapter(anna, 'default', 1),
        () => node.deleteAdapter(anna),
        () => node.pruneVersions({ keepLatest: 1 }),
        () => node.forgetUser(anna),
      ];
      for (const write of writes) {
        await expect(write()).rejects.toMatchObject({
          code: 'STORAGE_UNAVAILABLE',
          message: expect.stringMatching(/permission denied.*; give this role the rights/),
        });
      }
    } finally {
      await node.close();
    }
  });
});

describe('lora_backup', () => {
  test('dumps the database', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'lora-store-backup-'));
    try {
      const file = join(directory, 'lora.dump');
      await tools.run('pg_dump', ['--format=custom', `--file=${file}`, `--dbname=${urlOf('lora_backup')}`]);
      const listed = await tools.run('pg_restore', ['--list', file]);
      for (const table of ['users', 'lora_adapters', 'lora_adapter_heads', 'lora_store_migrations']) {
        expect(listed).toMatch(new RegExp(`TABLE DATA public ${table} `));
      }
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});

describe.each(['lora_app', 'lora_reader'] as const)('%s', (role) => {
  afterEach(() => withClient(urlOf('lora_owner'), (client) => client.query(grants)));

  test('reads which migrations were applied, and without that right still whether the schema is right', async () => {
    const granted = await migrationStatus({ postgres: urlOf(role) });
    expect(granted).toMatchObject({ recorded: true, migrations: [{ appliedAt: expect.any(Date) }, {}, {}, {}, {}] });
    await asAdmin(`revoke select on lora_store_migrations from ${role}`);
    const { recorded, problem } = await migrationStatus({ postgres: urlOf(role) });
    expect({ recorded, problem }).toEqual({ recorded: false, problem: undefined });
    const tables = Tables.openUnchecked(urlOf(role), 10_000);
    const patient = { tables, cache: undefined, options: { postgres: urlOf(role) }, now: Date.now };
    expect(await schema(patient).finally(() => tables.close())).toMatchObject({ level: 'ok' });
  });
});

describe('what is refused', () => {
  const body = `values ('${anna}', 'refused', '', 0)`;
  const statements = {
    'create a table': 'create table mine ()',
    'create a role': 'create role another',
    'read weights': 'select weights from lora_adapters',
    'know versions': 'select user_id, version from lora_adapters',
    'add a body': `insert into lora_adapters (user_id, adapter_name, weights, size_bytes) ${body}`,
    'rewrite a body': `update lora_adapters set weights = ''`,
    'renumber a body': 'update lora_adapters set version = 9',
    'delete bodies': 'delete from lora_adapters',
    'empty the table': 'truncate lora_adapters',
    'drop a trigger': 'drop trigger lora_adapters_settle_insert on lora_adapters',
    'call a trigger function':
      'create trigger mine before insert on lora_adapters execute function lora_adapters_lock_head()',
    'read heads': 'select from lora_adapter_heads',
    'change heads': 'update lora_adapter_heads set revision = revision + 1',
    'list users': 'select id from users',
    'add a user': 'insert into users (id) values (gen_random_uuid())',
    'delete a user': 'delete from users',
    'empty users': 'truncate users cascade',
    'know migrations': 'select from lora_store_migrations',
    'forge a migration': `insert into lora_store_migrations (name, run_on) values ('x', now())`,
  };
  const rights: Record<Exclude<Role, 'lora_owner'>, (keyof typeof statements)[]> = {
    lora_app: [
      'read weights',
      'know versions',
      'add a body',
      'delete bodies',
      'read heads',
      'change heads',
      'list users',
      'add a user',
      'know migrations',
    ],
    lora_trainer: ['know versions', 'add a body'],
    lora_reader: ['read weights', 'know versions', 'read heads', 'know migrations'],
    lora_backup: ['read weights', 'know versions', 'read heads', 'list users', 'know migrations'],
  };

  test.each(Object.entries(rights))('%s may do its work and no more', async (role, allowed) => {
    const done: string[] = [];
    for (const [what, sql] of Object.entries(statements)) {
      const outcome = await attempt(role as Role, sql);
      if (outcome === 'ok') done.push(what);
      else expect({ what, outcome }).toEqual({ what, outcome: '42501' });
    }
    expect(done).toEqual(Object.keys(statements).filter((what) => (allowed as string[]).includes(what)));
  });
});

test('a table of users that a service made before stays its own', async () => {
  await asAdmin('create database theirs');
  const theirs = new URL(server.url);
  theirs.pathname = '/theirs';
  const ours = new URL(urlOf('lora_owner'));
  ours.pathname = '/theirs';
  await withClient(theirs.href, async (client) => {
    await client.query('create table users (id uuid primary key, email text)');
    await client.query(roles);
    await migrate({ postgres: ours.href });
    await client.query(grants);
    await client.query(`insert into users (id, email) values ($1, 'anna@example.org')`, [anna]);
  });
  const url = new URL(urlOf('lora_app'));
  url.pathname = '/theirs';
  const node = await opened('lora_app', { postgres: url.href });
  try {
    expect(await node.saveAdapter(smallAdapter(anna))).toBe(1);
  } finally {
    await node.close();
  }
  await withClient(url.href, async (client) => {
    await expect(client.query('select email from users')).rejects.toThrow('permission denied');
  });
});
