/** The servers that the tests stand on: each file has its own database, and a server of one's own dies and comes back. */
import { Redis } from 'ioredis';
import pg from 'pg';
import { describe, expect, test } from 'vitest';
import { createDatabase } from './database.js';
import { startPostgres } from './postgres.js';
import { redisNamespace, redisUrl, startRedis } from './redis.js';
import { withClient } from './template.js';

async function namesOfTables(url: string): Promise<string[]> {
  const sql = `SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1`;
  const { rows } = await withClient(url, (client) => client.query<{ tablename: string }>(sql));
  return rows.map(({ tablename }) => tablename);
}

describe('a database of a test file', () => {
  test('is empty on request', async () => {
    const database = await createDatabase({ template: 'empty' });
    expect(await namesOfTables(database.url)).toEqual([]);
    await database.drop();
  });

  test('has the schema of this package by default', async () => {
    const database = await createDatabase();
    expect(await namesOfTables(database.url)).toEqual(expect.arrayContaining(['lora_adapter_heads', 'lora_adapters']));
    await database.drop();
  });

  test('is not seen by another one, though both are cloned at the same time', async () => {
    const [one, other] = await Promise.all([createDatabase(), createDatabase()]);
    await withClient(one.url, (client) => client.query('CREATE TABLE only_here (id int)'));
    expect(await namesOfTables(one.url)).toContain('only_here');
    expect(await namesOfTables(other.url)).not.toContain('only_here');
    await Promise.all([one.drop(), other.drop()]);
  });

  test('is gone after drop, whoever is connected', async () => {
    const database = await createDatabase({ template: 'empty' });
    const client = new pg.Client({ connectionString: database.url });
    const ended = new Promise((resolve) => client.on('error', resolve));
    await client.connect();
    await database.drop();
    expect(String(await ended)).toMatch(/terminat/);
    await expect(withClient(database.url, async () => {})).rejects.toThrow('does not exist');
  });
});

describe('a server of a test', () => {
  test('Postgres: takes settings, keeps through a kill what was committed, and asks for a password', async () => {
    const server = await startPostgres({ max_connections: '17' });
    await withClient(server.url, (client) => client.query('CREATE TABLE kept AS SELECT 1 AS id'));
    await server.kill();
    // Its children hold the socket until they notice that it is gone, and reset who comes meanwhile.
    await expect(withClient(server.url, async () => {})).rejects.toThrow(/ECONNREFUSED|ECONNRESET|terminated/);
    await server.restart();
    expect(await namesOfTables(server.url)).toEqual(['kept']);
    const { rows } = await withClient(server.url, (client) => client.query('SHOW max_connections'));
    expect(rows).toEqual([{ max_connections: '17' }]);
    const stranger = new URL(server.url);
    stranger.password = 'wrong';
    await expect(withClient(stranger.toString(), async () => {})).rejects.toThrow('password authentication failed');
    await server.stop();
    await server.stop();
  });

  test('Redis: a kill empties it, and it comes back on the same port', async () => {
    const server = await startRedis({ maxmemory: '3mb' });
    const client = new Redis(server.url, { retryStrategy: () => 20 });
    client.on('error', () => {});
    await client.set('key', 'value');
    await server.restart();
    expect(await client.get('key')).toBeNull();
    expect(await client.config('GET', 'maxmemory')).toEqual(['maxmemory', String(3 * 1024 * 1024)]);
    client.disconnect();
    await server.stop();
  });

  test('the shared Redis answers, and namespaces differ', async () => {
    const client = new Redis(redisUrl());
    expect(await client.ping()).toBe('PONG');
    client.disconnect();
    expect(redisNamespace()).not.toBe(redisNamespace());
  });
});
