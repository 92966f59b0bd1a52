/** The package's own pool: each connection is probed with known bytes, and where its session is ours, gets our settings. */
import pg from 'pg';
import { BinaryClient } from './binary-client.js';
import { isPooled } from './pooler.js';
import { columnTypes } from './wire.js';

const PLAIN = columnTypes();
const PROBE = Buffer.from([0x00, 0xff, 0x80, 0xc3, 0x28, 0x5c]);
const PROBE_TEXT = `select decode('${PROBE.toString('hex')}', 'hex'), pg_backend_pid()`;

export function ownPool(config: pg.PoolConfig, timeoutMs: number): pg.Pool {
  const pool = new pg.Pool({
    max: 10,
    application_name: 'lora-store',
    ...config,
    connectionTimeoutMillis: timeoutMs,
    Client: BinaryClient,
    onConnect: (client) => prepare(client as BinaryClient, timeoutMs),
  });
  // An idle connection that dies is removed by the pool; the next call opens another. Without a listener it would end the process.
  pool.on('error', ignore);
  return pool;
}

/** The probe (does bytea arrive whole in binary here, and from the server itself?), and session settings. */
async function prepare(client: BinaryClient, timeoutMs: number): Promise<void> {
  const probe = { text: PROBE_TEXT, rowMode: 'array' as const, binary: true, queryMode: 'extended', types: PLAIN };
  const { rows } = await client.query<[Buffer, number]>({ ...probe, query_timeout: timeoutMs } as typeof probe);
  const [bytes, pid] = rows[0] ?? [];
  client.binaryResults = bytes?.equals(PROBE) ?? false;
  client.pooled = isPooled(client, pid);
  if (client.pooled) return;
  const text = `set default_transaction_isolation = 'read committed'; set lock_timeout = ${lockBudget(timeoutMs)}; set statement_timeout = ${timeoutMs}`;
  await client.query({ text, query_timeout: timeoutMs } as pg.QueryConfig);
}

/** Half of it, so that the caller hears which lock it was and not that time ran out. */
export function lockBudget(timeoutMs: number): number {
  return Math.max(1, Math.floor(timeoutMs / 2));
}

function ignore(): void {}
