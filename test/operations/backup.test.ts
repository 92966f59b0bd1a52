/**
 * Backup and restore by doing it, with the commands of docs/operations.md: every adapter loads as it was dumped, no
 * version number is given twice, and no cache serves what the restore took back, of nodes that run across it either.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { LoRAStorage } from '../../src/index.js';
import { migrate } from '../../src/postgres/migrate.js';
import { applyFiles } from '../postgres/support/migration-files.js';
import { wrongHeads } from '../postgres/support/writers.js';
import type { OwnServer } from '../support/postgres.js';
import { type PostgresTools, startPostgresWithTools } from '../support/postgres-tools.js';
import { redisNamespace, redisUrl } from '../support/redis.js';
import { root } from '../support/root.js';
import { urlOfDatabase, withClient } from '../support/template.js';
import { waitFor } from '../support/wait.js';
import { bytesOf, expectAsDumped, expectNewNumbers, live, liveOn, type Past, withNode } from './support/service.js';

const afterRestore = readFileSync(join(root, 'docs/sql/after-restore.sql'), 'utf8');

let server: OwnServer;
let tools: PostgresTools;
let databases = 0;
/** URLs: what is dumped, migrated and full of life; where it may be restored, empty. */
let source: string;
let target: string;
let directory: string;
let dump: string;
let namespace: string;
let past: Past;
/** Highest numbers given up to the moment of the restore, after the dump too. */
let given: Map<string, number>;

beforeAll(async () => {
  ({ server, tools } = await startPostgresWithTools());
});
afterAll(() => server?.stop());

async function createDatabase(): Promise<string> {
  const name = `lora_${++databases}`;
  await withClient(server.url, (client) => client.query(`create database ${name} template template0`));
  return urlOfDatabase(server.url, name);
}

beforeEach(async () => {
  source = await createDatabase();
  target = await createDatabase();
  await migrate({ postgres: source });
  directory = mkdtempSync(join(tmpdir(), 'lora-store-backup-'));
  dump = join(directory, 'lora.dump');
  namespace = redisNamespace();
  past = await withNode(tiersOf(source), live);
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

function tiersOf(url: string) {
  return { postgres: url, redis: redisUrl(), namespace, createMissingUsers: true };
}

const wholeDump = () => tools.run('pg_dump', ['--format=custom', `--file=${dump}`, `--dbname=${source}`]);

/** pg_restore as a script, to be run with more in one transaction. */
const scriptOf = (...choice: string[]) => tools.run('pg_restore', [...choice, '--file=-', dump]);

async function headsAreTrue(url: string): Promise<void> {
  expect(await withClient(url, wrongHeads)).toEqual([]);
}

/** Of adapters that began after the dump it has no head: their numbers begin anew, as everything else of them does. */
function knownToTheDump(): ReadonlyMap<string, number> {
  return new Map([...given].filter(([name]) => name !== past.later));
}

/** What a node answers that has run across the restore: as dumped, once it has heard, and from then on. */
async function comesBack(node: LoRAStorage): Promise<void> {
  const back = async () => {
    for (const name of past.given.keys()) {
      if (String(await bytesOf(node, past.userId, name)) !== String(past.loads.get(name))) return false;
    }
    return true;
  };
  await waitFor(back, { what: 'a node that serves what was restored' });
  await expectAsDumped(node, past);
}

/** Not only right, but cached: no tier takes what was restored for older than what it held. */
async function isCached(node: LoRAStorage): Promise<void> {
  await waitFor(async () => (await node.loadAdapterInfo(past.userId, 'plain')).tier === 'memory');
}

describe('the whole database, dumped in the afternoon and restored in the evening', () => {
  beforeEach(async () => {
    await wholeDump();
    given = await withNode(tiersOf(source), (node) => liveOn(node, past));
  });

  test('into a new database: as dumped, though Redis is full of what came later', async () => {
    await tools.run('pg_restore', ['--exit-on-error', '--single-transaction', `--dbname=${target}`, dump]);
    await tools.script(target, afterRestore);
    await headsAreTrue(target);
    await withNode(tiersOf(target), async (node) => {
      await expectAsDumped(node, past);
      await expectAsDumped(node, past);
      await expectNewNumbers(node, past, knownToTheDump());
    });
  });

  test('the restored database needs no migration', async () => {
    await tools.run('pg_restore', ['--exit-on-error', '--single-transaction', `--dbname=${target}`, dump]);
    expect(await migrate({ postgres: target })).toEqual([]);
  });

  // Server, name and transaction ids are those of the database that was dropped: only the ear can tell the two apart.
  test('into a database of the same name, while a node waits for it', async () => {
    const name = new URL(source).pathname.slice(1);
    await withNode(tiersOf(source), async (running) => {
      given = await liveOn(running, past);
      await withClient(server.url, async (client) => {
        await client.query(`drop database ${name} with (force)`);
        await client.query(`create database ${name} template template0`);
      });
      await tools.run('pg_restore', ['--exit-on-error', '--single-transaction', `--dbname=${source}`, dump]);
      await comesBack(running);
      await withNode(tiersOf(source), (fresh) => expectAsDumped(fresh, past));
      await tools.script(source, afterRestore);
      await isCached(running);
      await expectNewNumbers(running, past, knownToTheDump());
    });
  });

  test('in place, in one transaction, under a node that never loses its connections', async () => {
    await withNode(tiersOf(source), async (running) => {
      given = await liveOn(running, past);
      await tools.script(source, (await scriptOf('--clean', '--if-exists')) + afterRestore);
      await comesBack(running);
      await isCached(running);
      await headsAreTrue(source);
      await withNode(tiersOf(source), (fresh) => expectAsDumped(fresh, past));
      await expectNewNumbers(running, past, knownToTheDump());
    });
  });

  test('in place, the bodies alone: the heads that are there know every number, and tell every node', async () => {
    await withNode(tiersOf(source), async (running) => {
      given = await liveOn(running, past);
      const bodies = await scriptOf('--data-only', '--table=lora_adapters');
      await tools.script(source, `truncate lora_adapters; ${bodies}`);
      await comesBack(running);
      await isCached(running);
      await headsAreTrue(source);
      await expectNewNumbers(running, past, given);
    });
  });
});

describe('data alone, into a database that is migrated already', () => {
  const tables = ['users', 'lora_adapter_heads', 'lora_adapters'];
  const dataOf = async (order: readonly string[]) => {
    const parts = order.map((table) => scriptOf('--data-only', `--table=${table}`));
    return (await Promise.all(parts)).join('\n');
  };

  beforeEach(async () => {
    await wholeDump();
    await migrate({ postgres: target });
  });

  test('users, heads, bodies: the triggers find the heads and keep their numbers', async () => {
    await withNode({ ...tiersOf(target), redis: false }, async (running) => {
      // It knows that there is nothing, and is told.
      for (const name of past.given.keys()) expect(await bytesOf(running, past.userId, name)).toBeUndefined();
      await tools.script(target, await dataOf(tables));
      await comesBack(running);
      await headsAreTrue(target);
      await expectNewNumbers(running, past, past.given);
    });
  });

  test('bodies before heads: the dumped heads collide with those of the triggers, and nothing is restored', async () => {
    const restoring = tools.script(target, await dataOf(['users', 'lora_adapters', 'lora_adapter_heads']));
    await expect(restoring).rejects.toThrow(/duplicate key value violates unique constraint "lora_adapter_heads_pkey"/);
    const { rows } = await withClient(target, (client) => client.query('select from users'));
    expect(rows).toEqual([]);
  });

  test('with --disable-triggers, as a superuser: any order', async () => {
    const data = await scriptOf('--data-only', '--disable-triggers', ...tables.map((table) => `--table=${table}`));
    await tools.script(target, data + afterRestore);
    await headsAreTrue(target);
    await withNode(tiersOf(target), async (node) => {
      await expectAsDumped(node, past);
      await expectNewNumbers(node, past, past.given);
    });
  });
});

describe('as the Rust service does it: pg_dump --data-only --table, restored by psql', () => {
  const plainDump = (url: string, ...names: string[]) =>
    tools.run('pg_dump', ['--data-only', ...names.map((name) => `--table=${name}`), `--dbname=${url}`]);

  beforeEach(async () => {
    await migrate({ postgres: target });
    await withClient(target, (client) => client.query('insert into users (id) values ($1)', [past.userId]));
  });

  test('the bodies alone load as they were; numbers that only a head knew begin anew', async () => {
    await tools.script(target, await plainDump(source, 'lora_adapters'));
    await headsAreTrue(target);
    await withNode(tiersOf(target), async (node) => {
      await expectAsDumped(node, past);
      await expectNewNumbers(node, past, new Map([['plain', 3]]));
      expect(await node.saveAdapter(await node.loadAdapter(past.userId, 'plain'), 'deleted')).toBe(1);
    });
  });

  test('with the heads, no number is given twice', async () => {
    await tools.script(target, await plainDump(source, 'lora_adapters', 'lora_adapter_heads'));
    await headsAreTrue(target);
    await withNode(tiersOf(target), async (node) => {
      await expectAsDumped(node, past);
      await expectNewNumbers(node, past, past.given);
    });
  });

  test('a dump of a database that knows no heads and no checksums', async () => {
    const theirs = await createDatabase();
    await applyFiles(theirs, 'up', ['001', '002']);
    const columns =
      'id, user_id, adapter_name, version, weights, size_bytes, training_iterations, created_at, updated_at';
    const rows = await withClient(source, (client) => client.query(`select ${columns} from lora_adapters`));
    await withClient(theirs, (client) => insertAll(client, columns, rows.rows));
    await tools.script(target, await plainDump(theirs, 'lora_adapters'));
    await headsAreTrue(target);
    await withNode(tiersOf(target), (node) => expectAsDumped(node, past));
  });
});

async function insertAll(client: pg.Client, columns: string, rows: Record<string, unknown>[]): Promise<void> {
  await client.query('insert into users (id) values ($1)', [past.userId]);
  for (const row of rows) {
    const values = Object.values(row);
    const places = values.map((_, i) => `$${i + 1}`).join(', ');
    await client.query(`insert into lora_adapters (${columns}) values (${places})`, values);
  }
}
