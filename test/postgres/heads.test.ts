/** What every kind of write, alone, does to the heads: the latest version, the last one given, and the revision. */
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { ANNA, BERT, type Head, headOf, insertNext, insertVersion, save, wrongHeads } from './support/writers.js';

let database: TestDatabase;
let client: pg.Client;

beforeAll(async () => {
  database = await createDatabase();
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
});

afterAll(async () => {
  await client?.end();
  await database?.drop();
});

beforeEach(() => client.query(`insert into users values ('${ANNA}'), ('${BERT}')`));

afterEach(async () => {
  expect(await wrongHeads(client)).toEqual([]);
  await client.query('delete from users; delete from lora_adapter_heads');
});

async function head(name = 'default', userId = ANNA): Promise<Head> {
  const found = await headOf(client, userId, name);
  if (found === undefined) throw new Error(`no head of ${name}`);
  return found;
}

/** Runs a write and returns the head before and after it. */
async function around(
  write: string | (() => Promise<unknown>),
  name = 'default',
): Promise<{ before: Head; after: Head }> {
  const before = await head(name);
  await (typeof write === 'string' ? client.query(write) : write());
  return { before, after: await head(name) };
}

describe('our save', () => {
  test('returns the revision that stays, the first time and the next', async () => {
    const started = Date.now() * 1000 - 1_000_000;
    for (const version of [1, 2, 3]) {
      const saved = await save(client, ANNA, 'default');
      expect(saved.version).toBe(version);
      const after = await head();
      expect(after).toEqual({ last: version, latest: version, revision: Number(saved.revision) });
      expect(after.revision).toBeGreaterThan(started);
    }
  });

  test.each(['repeatable read', 'serializable'])('does so at %s, twice in a transaction', async (level) => {
    await client.query(`begin isolation level ${level}`);
    const first = await save(client, ANNA, 'default');
    const second = await save(client, ANNA, 'default');
    await client.query('commit');
    expect(Number(second.revision)).toBeGreaterThan(Number(first.revision));
    expect(await head()).toEqual({ last: 2, latest: 2, revision: Number(second.revision) });
  });

  test('writes its head once: the triggers leave it alone', async () => {
    await save(client, ANNA, 'default');
    // Within a transaction nothing is handed to the shared counters: the difference is what the save has written.
    const writes = async () => {
      const { rows } = await client.query<{ n: number }>(
        `select (pg_stat_get_xact_tuples_inserted(heads) + pg_stat_get_xact_tuples_updated(heads))::int as n
         from (select 'lora_adapter_heads'::regclass as heads) as c`,
      );
      return rows[0]?.n ?? 0;
    };
    await client.query('begin');
    const before = await writes();
    await save(client, ANNA, 'default');
    expect((await writes()) - before).toBe(1);
    await client.query('commit');
  });

  test('never gives a number twice, though all versions or the user were deleted', async () => {
    await save(client, ANNA, 'default');
    await save(client, ANNA, 'default');
    await client.query('delete from lora_adapters');
    expect((await save(client, ANNA, 'default')).version).toBe(3);
    await client.query(`delete from users where id = '${ANNA}'; insert into users values ('${ANNA}')`);
    expect((await save(client, ANNA, 'default')).version).toBe(4);
  });

  test('for nobody saves nothing', async () => {
    await client.query(`delete from users where id = '${ANNA}'`);
    await expect(save(client, ANNA, 'default')).rejects.toThrow('came back empty');
    expect(await headOf(client, ANNA, 'default')).toBeUndefined();
  });
});

describe('a stranger who', () => {
  beforeEach(async () => {
    for (let version = 1; version <= 3; version++) await save(client, ANNA, 'default', `body ${version}`);
  });

  /** latest and last as given; the revision grew, or not at all. */
  function expectHead(
    { before, after }: { before: Head; after: Head },
    latest: number | null,
    last: number,
    grew: boolean,
  ) {
    expect({ latest: after.latest, last: after.last, grew: after.revision > before.revision }).toEqual({
      latest,
      last,
      grew,
    });
    if (!grew) expect(after.revision).toBe(before.revision);
  }

  test('inserts max + 1', async () => {
    expectHead(await around(() => insertNext(client, ANNA, 'default')), 4, 4, true);
    expect((await save(client, ANNA, 'default')).version).toBe(5);
  });

  test('inserts the first version there is', async () => {
    await insertNext(client, ANNA, 'new');
    expect(await head('new')).toMatchObject({ latest: 1, last: 1 });
  });

  test('inserts an older version, or one far ahead', async () => {
    await client.query('delete from lora_adapters where version = 2');
    expectHead(await around(() => insertVersion(client, ANNA, 'default', 2)), 3, 3, false);
    expectHead(await around(() => insertVersion(client, ANNA, 'default', 90)), 90, 90, true);
  });

  test('inserts many adapters and versions in one statement', async () => {
    await client.query(
      `insert into lora_adapters (user_id, adapter_name, version, weights, size_bytes)
       select u::uuid, 'a' || n, v, '', 0 from unnest(array['${BERT}', '${ANNA}']) u, generate_series(1, 20) n, generate_series(3, 1, -1) v`,
    );
    expect(await head('a20', BERT)).toMatchObject({ latest: 3, last: 3 });
  });

  test('inserts what is there already: on conflict do nothing', async () => {
    const insert = (version: number, name: string) =>
      `insert into lora_adapters (user_id, adapter_name, version, weights, size_bytes) values ('${ANNA}', '${name}', ${version}, '', 0)`;
    expectHead(await around(`${insert(3, 'default')} on conflict do nothing`), 3, 3, false);
    // A head without a body, where the conflict is with another adapter's row: it says so.
    await client.query(
      `insert into lora_adapters (id, user_id, adapter_name, version, weights, size_bytes)
       select id, user_id, 'other', 8, '', 0 from lora_adapters where version = 1 on conflict do nothing`,
    );
    expect(await head('other')).toMatchObject({ latest: null, last: 0 });
    expectHead(
      await around(
        `${insert(3, 'default')} on conflict (user_id, adapter_name, version) do update set weights = excluded.weights`,
      ),
      3,
      3,
      true,
    );
  });

  test.each([
    ['weights', `weights = 'rewritten'`],
    ['training_iterations', 'training_iterations = 7'],
    ['updated_at', `updated_at = now() - interval '1 day'`],
  ])('rewrites %s of the latest version, or of an older one', async (_what, change) => {
    expectHead(await around(`update lora_adapters set ${change} where version = 3`), 3, 3, true);
    expectHead(await around(`update lora_adapters set ${change} where version < 3`), 3, 3, false);
  });

  test('moves versions about', async () => {
    expectHead(await around('update lora_adapters set version = 9 where version = 1'), 9, 9, true);
    expectHead(await around('update lora_adapters set version = 1 where version = 9'), 3, 9, true);
    expectHead(await around('update lora_adapters set version = -2 where version = 2'), 3, 9, false);
  });

  test('moves a version to another adapter and another user', async () => {
    expectHead(await around(`update lora_adapters set adapter_name = 'moved' where version = 3`), 2, 3, true);
    expect(await head('moved')).toMatchObject({ latest: 3, last: 3 });
    expectHead(await around(`update lora_adapters set user_id = '${BERT}' where version = 1`), 2, 3, false);
    expect(await head('default', BERT)).toMatchObject({ latest: 1, last: 1 });
  });

  test('deletes older versions, the latest, and the rest', async () => {
    expectHead(await around('delete from lora_adapters where version = 1'), 3, 3, false);
    expectHead(await around('delete from lora_adapters where version = 3'), 2, 3, true);
    expectHead(await around('delete from lora_adapters'), null, 3, true);
    expectHead(await around('delete from lora_adapters'), null, 3, false);
  });

  test('replaces the latest body by another with its number in one statement', async () => {
    const replace = `with gone as (delete from lora_adapters where version = 3 returning user_id, adapter_name, version)
      insert into lora_adapters (user_id, adapter_name, version, weights, size_bytes)
      select user_id, adapter_name, version, 'other', 5 from gone`;
    expectHead(await around(replace), 3, 3, true);
  });

  test('deletes the user', async () => {
    await save(client, BERT, 'default');
    expectHead(await around(`delete from users where id = '${ANNA}'`), null, 3, true);
    expect(await head('default', BERT)).toMatchObject({ latest: 1 });
  });

  test('truncates', async () => {
    await save(client, BERT, 'default');
    expectHead(await around('truncate lora_adapters'), null, 3, true);
    expect(await head('default', BERT)).toMatchObject({ latest: null, last: 1 });
    await save(client, BERT, 'default');
    await client.query('truncate users cascade');
    expect(await head('default', BERT)).toMatchObject({ latest: null, last: 2 });
  });

  test('cleans up as the operations manual of the Rust service says', async () => {
    for (let version = 4; version <= 8; version++) await insertNext(client, ANNA, 'default');
    const keepThree = `delete from lora_adapters where id in (
      select id from (select id, row_number() over (partition by user_id, adapter_name order by version desc) as rn
                      from lora_adapters) sub where rn > 3)`;
    expectHead(await around(keepThree), 8, 8, false);
    expect((await client.query('select count(*)::int as n from lora_adapters')).rows).toEqual([{ n: 3 }]);
    expectHead(await around(`delete from lora_adapters where created_at < now() - interval '90 days'`), 8, 8, false);
  });

  test('deletes ten thousand rows', async () => {
    await client.query(
      `insert into lora_adapters (user_id, adapter_name, version, weights, size_bytes)
       select '${BERT}', 'bulk ' || n, v, '', 0 from generate_series(1, 2500) n, generate_series(1, 4) v`,
    );
    const before = await head('bulk 7', BERT);
    await client.query(`delete from lora_adapters where user_id = '${BERT}' and version <= 2`);
    expect(await head('bulk 7', BERT)).toEqual(before);
    await client.query(`delete from lora_adapters where user_id = '${BERT}'`);
    expect(await head('bulk 7', BERT)).toMatchObject({ latest: null, last: 4 });
  });
});

describe('what triggers ask', () => {
  // The planner gives a scan that was forbidden a cost of ten thousand millions, and compiles what is so dear, each time.
  test.each([
    `insert into lora_adapters (user_id, weights, size_bytes) values ('${ANNA}', '', 0)`,
    `update lora_adapters set weights = '1'`,
    `update lora_adapters set version = version + 1`,
    'delete from lora_adapters',
  ])('is found by keys: %s', async (write) => {
    await client.query('select lora_store_mark()');
    await insertVersion(client, ANNA, 'other', 1);
    const plans: string[] = [];
    const note = ({ message = '' }) => plans.push(message);
    client.on('notice', note);
    await client.query(
      `load 'auto_explain'; set auto_explain.log_min_duration = 0; set auto_explain.log_nested_statements = on;
       set auto_explain.log_level = notice`,
    );
    await client.query(write);
    await client.query('reset auto_explain.log_min_duration');
    client.off('notice', note);
    const nested = plans.filter((plan) => !plan.includes(write));
    expect(nested.length).toBeGreaterThan(2);
    expect(nested.filter((plan) => plan.includes('Seq Scan'))).toEqual([]);
  });
});

describe('updated_at', () => {
  async function updatedAt(change: string): Promise<Date> {
    await save(client, ANNA, 'default');
    await client.query(`update lora_adapters set updated_at = '2001-01-01', created_at = '2001-01-01'`);
    await client.query(`update lora_adapters set ${change}`);
    return (await client.query<{ at: Date }>('select updated_at as at from lora_adapters')).rows[0]?.at ?? new Date(0);
  }

  test('follows an update', async () => {
    expect((await updatedAt('training_iterations = 5')).getFullYear()).toBeGreaterThan(2020);
  });

  test('is what the update sets it to, where it does', async () => {
    expect((await updatedAt(`updated_at = '2002-02-02 00:00:00Z'`)).toISOString()).toBe('2002-02-02T00:00:00.000Z');
  });
});

describe('a role that may only insert adapters', () => {
  let role: string;

  beforeEach(async () => {
    role = `lora_${new URL(database.url).pathname.slice(1)}`;
    await client.query(`create role ${role}; grant insert on lora_adapters to ${role}`);
  });

  afterEach(() => client.query(`reset role; drop owned by ${role} cascade; drop role ${role}`));

  test('inserts, and the heads follow', async () => {
    await client.query(`set role ${role}`);
    await insertVersion(client, ANNA, 'default', 1);
    await expect(client.query('select 1 from lora_adapter_heads')).rejects.toThrow('permission denied');
    await client.query('reset role');
    expect(await head()).toMatchObject({ latest: 1, last: 1 });
  });

  test('cannot run code of its own as the owner, though it may create in the schema', async () => {
    await client.query(`grant create, usage on schema public to ${role}; set role ${role}`);
    // An operator that fits two varchars better than any of pg_catalog's, which has only text = text.
    await client.query(`
      create function public.trap(varchar, varchar) returns boolean language plpgsql as
        'begin raise exception ''planted code runs as %'', current_user; end';
      create operator public.= (function = public.trap, leftarg = varchar, rightarg = varchar)`);
    await client.query('reset role');
    await client.query(
      `insert into lora_adapters (user_id, version, weights, size_bytes) values ('${ANNA}', 1, '', 0)`,
    );
    await client.query(
      `set search_path = pg_catalog; update public.lora_adapters set training_iterations = 1; reset search_path`,
    );
    await client.query(`drop operator public.= (varchar, varchar)`);
    expect(await head()).toMatchObject({ latest: 1, last: 1 });
  });

  test('cannot hang the functions on a table of its own', async () => {
    await client.query(`grant create, usage on schema public to ${role}; set role ${role}`);
    await client.query('create table public.fake (user_id uuid, adapter_name varchar, version integer)');
    await expect(
      client.query(
        'create trigger t before insert on public.fake for each row execute function public.lora_adapters_lock_head()',
      ),
    ).rejects.toThrow('permission denied');
  });
});
