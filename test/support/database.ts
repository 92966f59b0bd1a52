/** A database of its own for a test file. */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from 'pg';
import { inject } from 'vitest';
import { databaseName } from './names.js';
import './provided.js';
import { urlOfDatabase, withClient } from './template.js';

export interface TestDatabase {
  readonly url: string;
  /** Ends every connection to it, whoever's, and removes it. */
  drop(): Promise<void>;
}

/** Postgres refuses to copy a database that another copy is reading: clones stand in line at this lock. */
const cloneLock = 0x10ba;

/** 'migrated' (the default) has the schema of this package; 'empty' has nothing. */
export async function createDatabase(options: { template?: 'empty' | 'migrated' } = {}): Promise<TestDatabase> {
  const { run, postgres } = inject('servers');
  const { template: migrated } = postgres;
  const empty = options.template === 'empty';
  if (!empty && migrated.failure) throw new Error(`the migrations do not apply: ${migrated.failure}`);
  const template = empty ? 'template0' : migrated.name;
  const name = databaseName(run, randomBytes(6).toString('hex'));
  await withClient(postgres.url, async (client) => {
    // The session's end, just below, is what releases it: there is no statement to forget.
    await client.query('SELECT pg_advisory_lock($1)', [cloneLock]);
    await client.query(`CREATE DATABASE ${name} TEMPLATE ${template}`);
  });
  return {
    url: urlOfDatabase(postgres.url, name),
    async drop() {
      await withClient(postgres.url, async (client) => {
        await quiet(client, name);
        await client.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
      });
    },
  };
}

/** A client that is just ending would meet the end of its session as an error, with nobody there to hear it. */
async function quiet(client: Client, name: string): Promise<void> {
  const patience = performance.now() + 1000;
  for (;;) {
    const { rows } = await client.query('SELECT FROM pg_stat_activity WHERE datname = $1 LIMIT 1', [name]);
    if (rows.length === 0 || performance.now() >= patience) return;
    await sleep(10);
  }
}
