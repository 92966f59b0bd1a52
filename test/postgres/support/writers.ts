/** Those who write adapters in the tests of heads: our own save, statement for statement, and strangers. */
import type { ClientBase } from 'pg';

export const ANNA = '00000000-0000-0000-0000-00000000000a';
export const BERT = '00000000-0000-0000-0000-00000000000b';

export interface Saved {
  readonly version: number;
  readonly revision: string;
}

/**
 * The save of this package: one statement that locks the user, takes the head and bumps it, inserts the body, and
 * returns what the head says. Nothing comes back where the user does not exist.
 */
export const SAVE = `
  with owner as (
    select id from users where id = $1 for key share
  ), head as (
    insert into lora_adapter_heads as h (user_id, adapter_name, last_version, latest_version, revision)
    select id, $2::varchar, 1, 1, (extract(epoch from clock_timestamp()) * 1000000)::bigint from owner
    on conflict (user_id, adapter_name) do update
    set last_version = h.last_version + 1, latest_version = h.last_version + 1,
        revision = greatest(h.revision + 1, (extract(epoch from clock_timestamp()) * 1000000)::bigint)
    returning last_version, revision
  ), body as (
    insert into lora_adapters (user_id, adapter_name, version, weights, size_bytes)
    select $1, $2, last_version, $3::bytea, octet_length($3::bytea) from head
    returning version
  )
  select body.version, head.revision from head, body`;

export async function save(
  client: ClientBase,
  userId: string,
  name: string,
  weights: string | Buffer = 'w',
): Promise<Saved> {
  const { rows } = await client.query<Saved>({
    name: 'save',
    text: SAVE,
    values: [userId, name, typeof weights === 'string' ? Buffer.from(weights) : weights],
  });
  const [saved] = rows;
  if (saved === undefined) throw new Error('the save came back empty');
  return saved;
}

/** As a service that knows nothing of heads does it. */
export async function insertNext(client: ClientBase, userId: string, name: string, weights = 'w'): Promise<number> {
  const { rows } = await client.query<{ version: number }>({
    name: 'insert_next',
    text: `insert into lora_adapters (id, user_id, adapter_name, version, weights, size_bytes, created_at, updated_at)
           select gen_random_uuid(), $1::uuid, $2::varchar, coalesce(max(version), 0) + 1, $3::bytea, 1, now(), now()
           from lora_adapters where user_id = $1 and adapter_name = $2
           returning version`,
    values: [userId, name, Buffer.from(weights)],
  });
  return rows[0]?.version ?? 0;
}

/** One with a version of one's own choosing. */
export async function insertVersion(client: ClientBase, userId: string, name: string, version: number): Promise<void> {
  await client.query(
    `insert into lora_adapters (user_id, adapter_name, version, weights, size_bytes) values ($1, $2, $3, '', 0)`,
    [userId, name, version],
  );
}

export interface Head {
  readonly last: number;
  readonly latest: number | null;
  readonly revision: number;
}

export async function headOf(client: ClientBase, userId: string, name: string): Promise<Head | undefined> {
  const { rows } = await client.query<Head>(
    `select last_version as last, latest_version as latest, revision::float8 as revision
     from lora_adapter_heads where user_id = $1 and adapter_name = $2`,
    [userId, name],
  );
  return rows[0];
}

/** Heads that do not say what lora_adapters says. */
export async function wrongHeads(client: ClientBase): Promise<unknown[]> {
  const { rows } = await client.query(`
    select user_id, adapter_name, h.last_version, h.latest_version, b.latest
    from lora_adapter_heads h
    full join (select user_id, adapter_name, max(version) as latest from lora_adapters group by 1, 2) b
      using (user_id, adapter_name)
    where h.latest_version is distinct from b.latest or h.last_version is null or h.last_version < b.latest`);
  return rows;
}
