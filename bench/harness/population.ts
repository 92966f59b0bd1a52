/**
 * Adapters by the thousand, written by Postgres itself in a few statements: what a bench reads, where how it was saved does
 * not matter. Users are numbered, so that every process knows them; each has one adapter, the same weights for all.
 */
import { createHash } from 'node:crypto';
import { type AdapterShape, encodeAdapter, UserLoRAAdapter } from 'lora-store';
import pg from 'pg';

/** Ids in no order, as real ones are: an index over them has no hot end. */
export function userAt(index: number): string {
  const hex = createHash('md5').update(`user ${index}`).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

const USER_AT = "md5('user ' || i)::uuid";

export interface Population {
  readonly count: number;
  readonly shape?: AdapterShape;
  /** Default 'default'. */
  readonly adapterName?: string;
}

/** Users 0 to count - 1, each with version 1 of that adapter. The rows carry no checksum, as those of a Rust service. */
export async function populate(url: string, { count, shape, adapterName = 'default' }: Population): Promise<void> {
  const template = encodeAdapter(new UserLoRAAdapter(userAt(0), shape).initializeRandom(1));
  await withClient(url, async (client) => {
    await client.query('begin');
    // No trigger fires, so the heads are written here: a million of them one by one would take minutes.
    await client.query('set local session_replication_role = replica');
    await client.query(
      `insert into users (id) select ${USER_AT} from generate_series(0, $1::int - 1) i on conflict do nothing`,
      [count],
    );
    const indexes = await withoutSecondaryIndexes(client);
    await client.query(
      `insert into lora_adapters (user_id, adapter_name, version, weights, size_bytes)
       select ${USER_AT}, $2, 1, overlay($3::bytea placing uuid_send(${USER_AT}) from 9), octet_length($3::bytea)
       from generate_series(0, $1::int - 1) i`,
      [count, adapterName, template],
    );
    await client.query(
      `insert into lora_adapter_heads (user_id, adapter_name, last_version, latest_version, revision)
       select ${USER_AT}, $2, 1, 1, (extract(epoch from clock_timestamp()) * 1000000)::int8
       from generate_series(0, $1::int - 1) i`,
      [count, adapterName],
    );
    for (const definition of indexes) await client.query(definition);
    await client.query('commit');
  });
}

/** Three of five: sorting a million entries is faster than inserting each where it belongs. Returns how to bring them back. */
async function withoutSecondaryIndexes(client: pg.Client): Promise<string[]> {
  const { rows } = await client.query<{ indexname: string; indexdef: string }>(
    "select indexname, indexdef from pg_indexes where tablename = 'lora_adapters' and indexname like 'idx_%'",
  );
  for (const { indexname } of rows) await client.query(`drop index ${indexname}`);
  return rows.map(({ indexdef }) => indexdef);
}

export async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
