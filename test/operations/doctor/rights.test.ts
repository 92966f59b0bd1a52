/** Whether a node may save: each right that grants.sql gives is missed, and what is printed gives it back; read-only servers and standbys. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { examine } from '../../../src/operations/doctor/examine.js';
import type { Patient } from '../../../src/operations/doctor/finding.js';
import { RIGHTS_OF_NODES, rights, takesWrites } from '../../../src/operations/doctor/rights.js';
import { connections } from '../../../src/operations/doctor/server.js';
import { changeFeed } from '../../../src/operations/doctor/wires.js';
import { Tables } from '../../../src/operations/tables.js';
import { migrate } from '../../../src/postgres/migrate.js';
import { LoRAStorage } from '../../../src/storage/lora-storage.js';
import { type OwnServer, startPostgres } from '../../support/postgres.js';
import { TestReplication } from '../../support/replication.js';
import { root } from '../../support/root.js';
import { smallAdapter } from '../../support/storage.js';
import { withClient } from '../../support/template.js';

const [roles, grants] = ['roles', 'grants'].map((name) => readFileSync(join(root, `docs/sql/${name}.sql`), 'utf8')) as [
  string,
  string,
];

let server: OwnServer;
const opened: Tables[] = [];
const asAdmin = (sql: string) => withClient(server.url, (client) => client.query(sql));

beforeAll(async () => {
  server = await startPostgres();
  await asAdmin(roles);
  for (const role of ['lora_owner', 'lora_app', 'lora_reader']) await asAdmin(`alter role ${role} password 'secret'`);
  await migrate({ postgres: urlOf('lora_owner') });
  await asAdmin(grants);
  await using node = await LoRAStorage.open({ postgres: server.url, redis: false, createMissingUsers: true });
  await node.saveAdapter(smallAdapter('00000000-0000-4000-8000-000000000001'));
});
afterAll(() => server?.stop());
afterEach(async () => {
  await Promise.all(opened.splice(0).map((tables) => tables.close()));
});

function urlOf(role: string): string {
  const url = new URL(server.url);
  url.username = role;
  url.password = 'secret';
  return url.href;
}

/** By connections of its own, which have the settings of now. */
function patient(postgres = urlOf('lora_app')): Patient {
  const tables = Tables.openUnchecked(postgres, 5000);
  opened.push(tables);
  return { tables, cache: undefined, options: { postgres }, now: Date.now };
}

describe('the rights of a role', () => {
  afterEach(() => asAdmin(grants));

  test('are those that grants.sql gives lora_app, and nothing else', () => {
    const given = [...grants.matchAll(/^ *grant ([^;]+?) on (?:function )?([^;]+?)\s+to ([^;]+);/gm)]
      .filter(([, , , to = '']) => to.split(', ').includes('lora_app'))
      .flatMap(([, what = '', on = '']) =>
        what.split(', ').flatMap((right) => on.split(', ').map((object) => `${right} on ${object}`)),
      );
    const known = RIGHTS_OF_NODES.map(
      ([, on, privilege, column]) => `${privilege}${column === undefined ? '' : ` (${column})`} on ${on}`,
    );
    expect(known.sort()).toEqual(given.sort());
  });

  test('are well as lora_app, and save nothing as lora_reader', async () => {
    expect(await rights(patient())).toEqual({ level: 'ok', found: 'all that loads and saves take' });
    expect((await examine(patient())).filter(({ level }) => level === 'failure')).toEqual([]);
    expect(await rights(patient(urlOf('lora_reader')))).toEqual({
      level: 'warning',
      found: expect.stringContaining('may not save'),
      mend: expect.stringMatching(
        /^grant select \(id\), update \(id\) on users to "lora_reader"; grant insert, delete/,
      ),
    });
  });

  const needed = RIGHTS_OF_NODES.filter(([use]) => use === 'load' || use === 'save').map(
    ([, on, privilege, column]) => `${privilege}${column === undefined ? '' : ` (${column})`} on ${on}`,
  );
  test.each(needed)('are missed without %s, and given back by what is printed', async (right) => {
    await asAdmin(`revoke ${right} from lora_app`);
    const before = await rights(patient());
    expect(before).toEqual({
      level: 'failure',
      found: expect.stringContaining(`this role may not ${right}: `),
      mend: `grant ${right} to "lora_app";`,
    });
    await asAdmin(before.mend as string);
    expect(await rights(patient())).toMatchObject({ level: 'ok' });
  });

  test('that only some need are told of', async () => {
    await asAdmin(
      `revoke insert (id) on users from lora_app; revoke execute on function lora_store_mark() from lora_app`,
    );
    expect(await rights(patient())).toEqual({
      level: 'ok',
      found: 'all that loads and saves take; not for createMissingUsers, postgres.replicas',
    });
  });

  test('are what every check that is refused asks for, and nothing is warmed for it', async () => {
    await asAdmin('revoke select on lora_adapters, lora_adapter_heads from lora_app');
    const findings = await examine(patient());
    const failed = findings.filter(({ level }) => level === 'failure');
    expect(failed.map(({ name }) => name)).toContain('postgres');
    for (const { mend } of failed) expect(mend).toMatch(/^grant select on lora_adapters to "lora_app";/);
    await asAdmin(grants);
    // Heads alone may be read: the samples are there, and no load of them succeeds.
    await asAdmin('revoke select on lora_adapters from lora_app');
    const loads = (await examine(patient())).filter(({ name }) => name === 'memory' || name === 'postgres');
    expect(loads.map(({ mend }) => mend)).toEqual(Array(2).fill('grant select on lora_adapters to "lora_app";'));
  });

  test('to no tables at all are those of a database that is not migrated', async () => {
    await asAdmin('create database empty');
    const url = new URL(server.url);
    url.pathname = '/empty';
    expect(await rights(patient(url.href))).toMatchObject({ level: 'failure', mend: 'npx lora-store migrate up' });
    const findings = (await examine(patient(url.href))).filter(({ level }) => level === 'failure');
    expect(findings.length).toBeGreaterThan(8);
    expect([...new Set(findings.map(({ mend }) => mend))]).toEqual(['npx lora-store migrate up']);
  });
});

describe('a server that takes no writes', () => {
  test.each(['alter database "postgres"', 'alter role "lora_app"', 'alter role "lora_app" in database "postgres"'])(
    'since %s says so',
    async (who) => {
      expect(await takesWrites(patient())).toMatchObject({ level: 'ok' });
      await asAdmin(`${who} set default_transaction_read_only = on`);
      const before = await takesWrites(patient());
      expect(before).toEqual({
        level: 'failure',
        found: 'default_transaction_read_only is on: every save fails',
        mend: expect.stringContaining(`${who} set default_transaction_read_only = off;`),
      });
      // Each statement by itself, as psql sends what is pasted.
      const statements = (before.mend as string).split(';').filter((one) => one !== '');
      await withClient(server.url, async (client) => {
        for (const text of statements) await client.query(text);
      });
      expect(await takesWrites(patient())).toMatchObject({ level: 'ok' });
      await asAdmin(`${who} reset default_transaction_read_only`);
    },
  );

  test('since the URL says so', async () => {
    const url = `${urlOf('lora_app')}?options=-c%20default_transaction_read_only%3Don`;
    expect((await takesWrites(patient(url))).mend).toMatch(/out of the options of DATABASE_URL/);
  });

  test('since it is a standby: the primary is named, and no pooler', async () => {
    const replication = await TestReplication.start();
    try {
      await migrate({ postgres: replication.primary.url });
      const standby = await replication.standby();
      await replication.caughtUp(standby);
      const { host, port } = new pg.Client(replication.primary.url);
      const one = patient(standby.url);
      const mend = `export DATABASE_URL=postgres://USER:PASSWORD@${host}:${port}/DATABASE # the primary; standbys go into postgres.replicas`;
      expect(await takesWrites(one)).toEqual({
        level: 'failure',
        found: expect.stringMatching(/^this is a standby/),
        mend,
      });
      expect(await changeFeed(one)).toEqual({
        level: 'failure',
        found: expect.stringContaining('cannot execute LISTEN during recovery'),
        mend,
      });
      const failed = (await examine(one)).filter(({ level }) => level === 'failure');
      expect(failed.map(({ name }) => name)).toEqual(['writes', 'change feed']);
    } finally {
      await Promise.all(opened.splice(0).map((tables) => tables.close()));
      await replication.stop();
    }
  });
});

test('sessions of others are counted, of whom this role may know nothing', async () => {
  const clients = Array.from({ length: 5 }, () => new pg.Client(server.url));
  try {
    await Promise.all(clients.map((client) => client.connect()));
    const { found } = await connections(patient());
    const [, used, hidden] = /^(\d+) of \d+ in use, (\d+) of them hidden from this role;/.exec(found) ?? [];
    expect(Number(hidden)).toBeGreaterThanOrEqual(5);
    expect(Number(used)).toBe(Number(hidden) + 1);
    expect((await connections(patient(server.url))).found).not.toMatch(/hidden/);
  } finally {
    await Promise.all(clients.map((client) => client.end()));
  }
});
