/**
 * The database's own account of what was committed: triggers beside the package's write down each state of a head, when
 * its transaction commits and under the head's lock, and each change of a body. It survives what the data survive, and it
 * knows of writes whose answer was lost.
 */
import pg from 'pg';
import type { BodyChange, ChaosKey, HeadState, History, Row } from './history.js';

const tables = `
  create table chaos_heads (seq bigserial primary key, xid text, at float8, by text, user_id uuid, adapter_name text,
    revision int8, version int4, true_version int4, write int4);
  create table chaos_bodies (seq bigserial primary key, at float8, by text, change text, user_id uuid, adapter_name text,
    version int4, write int4);

  create function chaos_now() returns float8 language sql as $$ select extract(epoch from clock_timestamp()) * 1000 $$;

  create function chaos_head() returns trigger language plpgsql as $$
    begin
      insert into chaos_heads (xid, at, by, user_id, adapter_name, revision, version, true_version, write)
      select pg_current_xact_id()::text, chaos_now(), current_setting('application_name'), h.user_id, h.adapter_name,
        h.revision, coalesce(h.latest_version, 0), coalesce(b.version, 0), coalesce(b.training_iterations, 0)
      from lora_adapter_heads h left join lateral (
        select version, training_iterations from lora_adapters a
        where a.user_id = h.user_id and a.adapter_name = h.adapter_name order by version desc limit 1) b on true
      where h.user_id = new.user_id and h.adapter_name = new.adapter_name;
      return null;
    end $$;
  create constraint trigger chaos_head after insert or update on lora_adapter_heads
    deferrable initially deferred for each row execute function chaos_head();

  create function chaos_body() returns trigger language plpgsql as $$
    declare r record;
    begin
      r := case when tg_op = 'DELETE' then old else new end;
      insert into chaos_bodies (at, by, change, user_id, adapter_name, version, write) values
        (chaos_now(), current_setting('application_name'), lower(tg_op), r.user_id, r.adapter_name, r.version,
         r.training_iterations);
      return null;
    end $$;
  create trigger chaos_body after insert or update or delete on lora_adapters
    for each row execute function chaos_body();`;

/** In a database that is migrated and empty. */
export async function openLedger(url: string, keys: readonly ChaosKey[]): Promise<void> {
  await withClient(url, async (client) => {
    await client.query(tables);
    const users = [...new Set(keys.map(({ userId }) => userId))];
    await client.query('insert into users (id) select unnest($1::uuid[])', [users]);
  });
}

/** clockOffset: what to take from the server's clock to get at the monotonic one. */
export async function readLedger(url: string, history: History, clockOffset: number): Promise<void> {
  const position = new Map(history.keys.map(({ userId, name }, index) => [`${userId}/${name}`, index]));
  type Named = { user_id: string; adapter_name: string; at: number };
  const placed = <T extends Named>(row: T) => ({
    ...row,
    key: position.get(`${row.user_id}/${row.adapter_name}`) ?? -1,
    at: row.at - clockOffset,
  });
  await withClient(url, async (client) => {
    const heads = await client.query<Named & Omit<HeadState, 'key'>>(
      `select seq::int4, xid, at, by, user_id, adapter_name, revision::float8, version, true_version as "trueVersion", write
       from chaos_heads order by seq`,
    );
    const bodies = await client.query<Named & Omit<BodyChange, 'key'>>(
      'select seq::int4, at, by, change, user_id, adapter_name, version, write from chaos_bodies order by seq',
    );
    const rows = await client.query<Named & Omit<Row, 'key'>>(
      'select user_id, adapter_name, 0 as at, version, training_iterations as write from lora_adapters',
    );
    history.heads = heads.rows.map(placed);
    history.bodies = bodies.rows.map(placed);
    history.rows = rows.rows.map(placed);
  });
}

async function withClient(url: string, use: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await use(client);
  } finally {
    await client.end();
  }
}
