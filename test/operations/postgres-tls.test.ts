/**
 * Postgres over TLS, as it speaks it itself: every connection of a storage is encrypted, and a server that is not the one
 * it claims to be is refused with what to do about it.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LoRAStorage, migrate } from '../../src/index.js';
import { type OwnServer, startPostgres } from '../support/postgres.js';
import { smallAdapter } from '../support/storage.js';
import { withClient } from '../support/template.js';
import { makeCertificate } from '../support/tls.js';
import { waitFor } from '../support/wait.js';

const anna = '00000000-0000-0000-0000-00000000000a';

let directory: string;
let certificate: string;
/** Of an authority that has signed nothing here. */
let stranger: string;
let server: OwnServer;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'lora-store-tls-'));
  const [key, otherKey] = [join(directory, 'server.key'), join(directory, 'other.key')];
  [certificate, stranger] = [join(directory, 'server.pem'), join(directory, 'other.pem')];
  await makeCertificate(key, certificate);
  await makeCertificate(otherKey, stranger);
  server = await startPostgres();
  await writeInDataDirectory('server.key', readFileSync(key, 'utf8'));
  await writeInDataDirectory('server.crt', readFileSync(certificate, 'utf8'));
  await writeInDataDirectory('pg_hba.conf', 'hostssl all all all scram-sha-256');
  await withClient(server.url, async (client) => {
    await client.query('alter system set ssl = on');
    await client.query('select pg_reload_conf()');
  });
  await waitFor(() => migrate({ postgres: verified() }));
});

afterAll(async () => {
  await server?.stop();
  rmSync(directory, { recursive: true, force: true });
});

/** By the server, which alone reaches its own files, wherever it runs. */
async function writeInDataDirectory(file: string, text: string): Promise<void> {
  const lines = `select line from unnest(string_to_array('${text.trim()}', E'\\n')) as line`;
  await withClient(server.url, (client) => client.query(`copy (${lines}) to program 'umask 077; cat >${file}'`));
}

function urlWith(settings: Record<string, string>): string {
  const url = new URL(server.url);
  for (const [name, value] of Object.entries(settings)) url.searchParams.set(name, value);
  return url.href;
}

const verified = () => urlWith({ sslmode: 'verify-full', sslrootcert: certificate });

function open(postgres: string | pg.PoolConfig): Promise<LoRAStorage> {
  const patience = { maxStalenessMs: 5000, postgresTimeoutMs: 10_000 };
  return LoRAStorage.open({ ...patience, postgres, redis: false, createMissingUsers: true });
}

describe.each([
  ['a URL that names the certificate', verified],
  ['ssl settings of pg', () => ({ connectionString: server.url, ssl: { ca: readFileSync(certificate, 'utf8') } })],
])('%s', (_, source) => {
  test('every connection is encrypted, that of the change feed too', async () => {
    const node = await open(source());
    try {
      await node.saveAdapter(smallAdapter(anna));
      expect((await node.loadAdapter(anna)).userId).toBe(anna);
      expect(await node.health()).toMatchObject({ postgres: 'up', changeFeed: 'live' });
      const { rows } = await withClient(verified(), (client) =>
        client.query(`select distinct application_name as name, ssl from pg_stat_ssl join pg_stat_activity using (pid)
                      where application_name like 'lora-store%' order by 1`),
      );
      expect(rows).toEqual([
        { name: 'lora-store', ssl: true },
        { name: 'lora-store change feed', ssl: true },
      ]);
    } finally {
      await node.close();
    }
  });
});

describe('refused, with what to do:', () => {
  test.each([
    [
      'a certificate of an authority that is not trusted',
      () => urlWith({ sslmode: 'verify-full', sslrootcert: stranger }),
      'its certificate is signed by nobody whom this process trusts; name its authority with sslrootcert or ssl.ca',
    ],
    [
      'a certificate that no authority was named for',
      () => urlWith({ sslmode: 'verify-full' }),
      'its certificate is signed by nobody whom this process trusts; name its authority with sslrootcert or ssl.ca',
    ],
    [
      'a certificate of another host',
      () => {
        const url = new URL(verified());
        // The same machine, by an address that the certificate does not hold.
        url.hostname = '[::ffff:127.0.0.1]';
        return url.href;
      },
      'its certificate is for another host; connect by a name that it holds',
    ],
    [
      'a server that lets nobody in without TLS',
      () => server.url,
      'its pg_hba.conf does not let this user in without TLS; add sslmode=verify-full, or a line there',
    ],
  ])('%s', async (_, source, message) => {
    for (const attempt of [() => open(source()), () => migrate({ postgres: source() })]) {
      await expect(attempt()).rejects.toMatchObject({
        code: 'STORAGE_UNAVAILABLE',
        message: expect.stringContaining(message),
      });
    }
  });

  test('a server without TLS', async () => {
    const plain = await startPostgres();
    try {
      const url = `${plain.url}?sslmode=verify-full`;
      for (const attempt of [() => open(url), () => migrate({ postgres: url })]) {
        await expect(attempt()).rejects.toMatchObject({
          code: 'STORAGE_UNAVAILABLE',
          message: expect.stringContaining('it speaks no TLS; set ssl = on there, or leave sslmode out'),
        });
      }
    } finally {
      await plain.stop();
    }
  });
});
