/** What tests of export, import and archive have in common: rows to write, rows to compare, and a command that is still running. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { afterAll } from 'vitest';
import { encodeAdapter, UserLoRAAdapter } from '../../src/index.js';
import { withClient } from '../support/template.js';
import { waitFor } from '../support/wait.js';

const SCRIPT = fileURLToPath(new URL('../../dist/cli/lora-store.js', import.meta.url));

/** Removed at the end of the file. */
export function scratchDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'lora-archives-'));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

export const user = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;

export interface Seed {
  readonly userId: string;
  readonly adapterName?: string;
  readonly version?: number;
  readonly updatedAt?: string;
  /** 0: the smallest; 1 MiB and more, for pages of few. */
  readonly bytes?: number;
}

/** As a writer that is not ours, with times of its own. */
export async function seed(client: pg.Client, seeds: readonly Seed[]): Promise<void> {
  for (const [i, one] of seeds.entries()) {
    const { userId, adapterName = 'default', version = 1, updatedAt = '2025-01-01T00:00:00.123456Z', bytes = 0 } = one;
    const inputDim = Math.max(3, Math.ceil(bytes / 8));
    const adapter = new UserLoRAAdapter(userId, { rank: 2, inputDim, outputDim: 4 }).initializeRandom(i + 1);
    await client.query('insert into users (id) values ($1) on conflict do nothing', [userId]);
    await client.query(
      `insert into lora_adapters
         (user_id, adapter_name, version, weights, size_bytes, training_iterations, created_at, updated_at)
       values ($1, $2, $3, $4, octet_length($4::bytea), $5, $6::timestamptz - interval '1 day', $6::timestamptz)`,
      [userId, adapterName, version, encodeAdapter(adapter), i, updatedAt],
    );
  }
}

/** All that an archive has to bring back. checksum is not: a writer that is not ours leaves it out. */
export async function contents(url: string): Promise<unknown[]> {
  return await withClient(url, async (client) => {
    const { rows } = await client.query(
      `select user_id, adapter_name, version, sha256(weights), size_bytes, training_iterations,
         extract(epoch from created_at)::text as created, extract(epoch from updated_at)::text as updated
       from lora_adapters order by user_id, adapter_name, version`,
    );
    return rows;
  });
}

/** Holds every reader of the adapters back, until it is called. */
export async function holdReaders(url: string): Promise<() => Promise<void>> {
  const client = new pg.Client({ connectionString: url });
  // A test that fails drops its database under it.
  client.on('error', () => {});
  await client.connect();
  await client.query('begin');
  await client.query('lock table lora_adapters in access exclusive mode');
  return () => client.end();
}

/** Until at least so many sessions of that database wait for a lock. */
export async function someoneWaits(url: string, sessions = 1): Promise<void> {
  await withClient(url, (client) =>
    waitFor(
      async () => {
        const { rows } = await client.query(
          `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
        );
        return rows.length >= sessions;
      },
      { what: `${sessions} sessions that wait for a lock` },
    ),
  );
}

export interface Running {
  readonly process: ReturnType<typeof spawn>;
  /** Its exit code (null where a signal ended it), and what it said on stderr. */
  readonly ended: Promise<{ code: number | null; stderr: string }>;
}

/** A command that a test wants to meet in the middle. */
export function start(args: readonly string[], env: NodeJS.ProcessEnv, node: readonly string[] = []): Running {
  const child = spawn(process.execPath, [...node, SCRIPT, ...args], {
    env: { ...process.env, DATABASE_URL: '', REDIS_URL: '', ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let stderr = '';
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  return { process: child, ended: new Promise((resolve) => child.once('close', (code) => resolve({ code, stderr }))) };
}
