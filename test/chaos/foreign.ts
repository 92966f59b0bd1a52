/** Writers that know no cache: plain SQL in sessions of their own, at either isolation level, next to the package. */
import pg from 'pg';
import { recordOf } from './bodies.mjs';
import { type ChaosKey, type ForeignKind, now, type Write } from './history.js';

type Session = Pick<pg.PoolClient, 'query'>;
type Changed = { version: number }[];

const statements: Record<ForeignKind, (session: Session, key: ChaosKey, write: number) => Promise<Changed>> = {
  async 'foreign insert'(session, { userId, name }, write) {
    const body = recordOf(userId, name, write);
    const text = `insert into lora_adapters (user_id, adapter_name, version, weights, size_bytes, training_iterations)
      select $1::uuid, $2::varchar, coalesce(max(version), 0) + 1, $3, $4, $5 from lora_adapters
      where user_id = $1::uuid and adapter_name = $2::varchar returning version`;
    return (await session.query(text, [userId, name, body, body.length, write])).rows;
  },
  async 'foreign update'(session, { userId, name }, write) {
    const body = recordOf(userId, name, write);
    const text = `update lora_adapters set weights = $3, training_iterations = $4
      where user_id = $1 and adapter_name = $2 and version =
        (select max(version) from lora_adapters where user_id = $1 and adapter_name = $2) returning version`;
    return (await session.query(text, [userId, name, body, write])).rows;
  },
  async 'foreign delete'(session, { userId, name }) {
    const text = 'delete from lora_adapters where user_id = $1 and adapter_name = $2 returning version';
    return (await session.query(text, [userId, name])).rows;
  },
  async 'foreign deleteVersion'(session, { userId, name }) {
    const text = `delete from lora_adapters where user_id = $1 and adapter_name = $2 and version =
      (select max(version) from lora_adapters where user_id = $1 and adapter_name = $2) returning version`;
    return (await session.query(text, [userId, name])).rows;
  },
};

export interface ForeignWriters {
  write(kind: ForeignKind, key: number, of: ChaosKey, write: number, isolation: string): Promise<Write>;
  close(): Promise<void>;
}

export function openForeignWriters(url: string, by: string): ForeignWriters {
  const config = { connectionString: url, max: 4, application_name: by, connectionTimeoutMillis: 2000 };
  const pool = new pg.Pool({ ...config, query_timeout: 10_000 });
  // Postgres is killed under idle sessions and busy ones alike.
  pool.on('error', () => undefined);
  pool.on('connect', (client) => client.on('error', () => undefined));
  return {
    async write(kind, key, of, write, isolation) {
      const own = kind === 'foreign insert' || kind === 'foreign update' ? { write } : {};
      const begin = now();
      const ended = (outcome: Write['outcome'], more: Partial<Write> = {}): Write => {
        const end = outcome === 'unknown' ? Number.POSITIVE_INFINITY : now();
        return { kind, key, by, begin, end, outcome, ...own, ...more };
      };
      const session = await pool.connect().catch(() => undefined);
      if (session === undefined) return ended('refused');
      let committing = false;
      try {
        await session.query(`begin isolation level ${isolation}`);
        const changed = await statements[kind](session, of, write);
        const head = 'select revision::float8 from lora_adapter_heads where user_id = $1 and adapter_name = $2';
        const { rows } = await session.query<{ revision: number }>(head, [of.userId, of.name]);
        committing = true;
        await session.query('commit');
        session.release();
        const version = kind === 'foreign delete' ? undefined : changed[0]?.version;
        return ended(changed.length > 0 ? 'done' : 'nothing', { version, revision: rows[0]?.revision });
      } catch (error) {
        session.release(true);
        // Of conflicts and of connections that end; everything else is a mistake of ours.
        if (!/^(40|23|08|57)/.test((error as { code?: string }).code ?? '57')) throw error;
        return ended(committing ? 'unknown' : 'refused');
      }
    },
    close: () => pool.end(),
  };
}
