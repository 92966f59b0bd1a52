/**
 * A database of users who have an adapter each, written as a foreign writer would: by Postgres in statements of thousands,
 * with every index and trigger in place, so that the heads come from the triggers. Users are those of harness/population.ts.
 */
import { type AdapterShape, encodeAdapter, migrate, UserLoRAAdapter } from 'lora-store';
import { seeded } from '../../test/support/random.js';
import { userAt, withClient } from '../harness/population.js';
import { drawerOf, popularity } from '../system/zipf.js';

export interface Population {
  readonly name: string;
  readonly url: string;
  readonly users: number;
  readonly shape: AdapterShape;
  /** A record of the shape, of user 0. */
  readonly template: Buffer;
  readonly filledPerSecond: number;
}

const USER = "md5('user ' || i)::uuid";

/** autovacuum: false where VACUUM is measured, and nobody else may have done a part of it. */
export async function fill(
  server: string,
  {
    name,
    users,
    shape,
    batch,
    autovacuum,
  }: { name: string; users: number; shape: AdapterShape; batch: number; autovacuum: boolean },
  doing: (what: string) => void,
): Promise<Population> {
  await withClient(server, (client) => client.query(`create database "${name}"`));
  const url = Object.assign(new URL(server), { pathname: name }).href;
  await migrate({ postgres: url });
  const template = encodeAdapter(new UserLoRAAdapter(userAt(0), shape).initializeRandom(1));
  const began = performance.now();
  await withClient(url, async (client) => {
    if (!autovacuum) {
      await client.query('alter table lora_adapters set (autovacuum_enabled = off, toast.autovacuum_enabled = off)');
      await client.query('alter table lora_adapter_heads set (autovacuum_enabled = off)');
    }
    for (let from = 0; from < users; from += batch) {
      const range = [from, Math.min(users, from + batch) - 1];
      doing(`${name}: ${from.toLocaleString('en-US')} of ${users.toLocaleString('en-US')} users are written`);
      await client.query(`insert into users (id) select ${USER} from generate_series($1::int, $2::int) i`, range);
      await client.query(
        `insert into lora_adapters (user_id, adapter_name, version, weights, size_bytes)
         select ${USER}, 'default', 1, overlay($3::bytea placing uuid_send(${USER}) from 9), octet_length($3::bytea)
         from generate_series($1::int, $2::int) i`,
        [...range, template],
      );
    }
  });
  const filledPerSecond = (1000 * users) / (performance.now() - began);
  return { name, url, users, shape, template, filledPerSecond };
}

/** Ids as they are asked for, drawn before a clock runs. Zipf: the popular lie anywhere in the table, and not beside each other. */
export function drawn(among: number, how: 'uniform' | 'Zipf', count: number, seed: number): string[] {
  const random = seeded(seed);
  const uniform = () => Math.floor(random() * among);
  if (how === 'uniform') return Array.from({ length: count }, () => userAt(uniform()));
  const draw = drawerOf(popularity(among));
  return Array.from({ length: count }, () => userAt((draw(random()) * SCATTER) % among));
}

/** A prime that divides no number of users that anybody asks for. */
const SCATTER = 611_953;
