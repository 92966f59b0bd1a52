/**
 * Deletions that meet others at the rows of one adapter. Each interleaving is written out: whoever has to wait is seen
 * waiting before the next statement goes out.
 */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { keyOf } from '../../src/coherence/key.js';
import { Database, type Session as DatabaseSession } from '../../src/postgres/database.js';
import { deleteBodies } from '../../src/tiers/deletion.js';
import { PostgresTier } from '../../src/tiers/postgres.js';
import { DELETE } from '../../src/tiers/statements.js';
import { blockedAs, Session } from '../postgres/support/session.js';
import { ANNA, headOf, insertVersion, save, wrongHeads } from '../postgres/support/writers.js';
import { createDatabase, type TestDatabase } from '../support/database.js';

const KEY = keyOf(ANNA, 'default');
const QUIET = { degraded: () => undefined, recovered: () => undefined };
/** Rows are found in the order in which they lie, as in a table that is too small for an index. */
const PHYSICAL = '-c enable_indexscan=off -c enable_bitmapscan=off -c enable_indexonlyscan=off';

let database: TestDatabase;
let observer: Session;
let one: Session;
let two: Session;
let deleter: Database;
let tier: PostgresTier;

beforeAll(async () => {
  database = await createDatabase();
  const sessions = Array.from({ length: 3 }, () => new Session({ connectionString: database.url }));
  [observer, one, two] = sessions as [Session, Session, Session];
  await Promise.all(sessions.map((session) => session.connect()));
  const config = { connectionString: database.url, application_name: 'deleter', options: PHYSICAL };
  deleter = new Database(config, { timeoutMs: 20_000, maxQueue: 10 });
  tier = new PostgresTier(deleter, { createMissingUsers: false }, QUIET);
});

afterAll(async () => {
  await deleter?.close();
  await Promise.all([observer, one, two].map((session) => session?.end()));
  await database?.drop();
});

beforeEach(() => observer.query(`insert into users values ('${ANNA}')`));

afterEach(async () => {
  await Promise.all([one, two].map((session) => session.query('rollback')));
  expect(await wrongHeads(observer)).toEqual([]);
  await observer.query('delete from users; delete from lora_adapter_heads');
});

const lock = (session: Session, version: number, strength = 'update') =>
  session.query(`select from lora_adapters where version = ${version} for ${strength}`);
const versions = async () =>
  (await observer.query('select version from lora_adapters order by 1')).rows.map(({ version }) => version);

test('one that waited for another takes what was inserted since by version, not as it lies: they do not cross', async () => {
  await insertVersion(observer, ANNA, 'default', 1);
  await one.query('begin');
  await lock(one, 1);
  const { answer } = await blockedAs(observer, 'deleter', tier.delete(KEY));
  // Both are there when the first deletion ends, and 3 lies before 2.
  await insertVersion(observer, ANNA, 'default', 3);
  await insertVersion(observer, ANNA, 'default', 2);
  await two.query('begin');
  await lock(two, 2);
  await one.query('delete from lora_adapters where version = 1');
  await one.query('commit');
  await blockedAs(observer, 'deleter', answer);
  // Whoever goes by version gets this one, too: had the deletion taken 3 before it waited for 2, they would wait for each other.
  await lock(two, 3, 'update nowait');
  await two.query('delete from lora_adapters where version in (2, 3)');
  await two.query('commit');
  expect((await answer).deleted).toBe(0);
  expect(await versions()).toEqual([]);
});

test('the copy that a rollback made while its source was waited for goes, too', async () => {
  await save(observer, ANNA, 'default', 'old');
  await one.query('begin');
  await lock(one, 1, 'share');
  const { answer } = await blockedAs(observer, 'deleter', tier.delete(KEY));
  await save(one, ANNA, 'default', 'old');
  await one.query('commit');
  expect(await answer).toMatchObject({ deleted: 2, version: 0 });
  expect(await versions()).toEqual([]);
});

test('what another deletion is removing is waited for, and not counted twice', async () => {
  await save(observer, ANNA, 'default');
  await save(observer, ANNA, 'default');
  await one.query('begin');
  await one.query('delete from lora_adapters where version = 1');
  const { answer } = await blockedAs(observer, 'deleter', tier.delete(KEY));
  await one.query('commit');
  expect((await answer).deleted).toBe(1);
});

test('what is inserted after the last look is neither locked nor deleted', async () => {
  await insertVersion(observer, ANNA, 'default', 1);
  // A deletion's statements one by one, so that something can happen between two of them.
  const session: DatabaseSession = {
    rows: async ({ name, text }, values) => {
      if (name === DELETE.name) await insertVersion(observer, ANNA, 'default', 2);
      return (await one.query({ text, values: [...values], rowMode: 'array' })).rows as never[];
    },
  };
  await one.query('begin');
  expect(await deleteBodies(session, KEY)).toBe(1);
  await two.query('begin');
  await lock(two, 2, 'update nowait');
  await two.query('commit');
  await one.query('commit');
  expect(await versions()).toEqual([2]);
});

test('a version that is saved once all are locked stays, and is the latest', async () => {
  await save(observer, ANNA, 'default');
  await one.query('begin');
  await one.query('select from lora_adapter_heads for update');
  // It has its row, and waits for the head.
  const { answer } = await blockedAs(observer, 'deleter', tier.delete(KEY));
  await save(one, ANNA, 'default');
  await one.query('commit');
  expect(await answer).toMatchObject({ deleted: 1, version: 2 });
  expect(await versions()).toEqual([2]);
  expect(await headOf(observer, ANNA, 'default')).toMatchObject({ latest: 2 });
});

test('who saves to a user that had no row to wait for, while he is forgotten, keeps body and head', async () => {
  await save(observer, ANNA, 'default', 'old');
  await save(observer, ANNA, 'other', 'old');
  await observer.query('delete from users');
  await one.query('begin');
  await one.query(`select from lora_adapter_heads where adapter_name = 'default' for update`);
  // 1. No row of the user, no body: the heads are what is left to forget.
  const { answer } = await blockedAs(observer, 'deleter', tier.forgetUser(ANNA));
  // 2. The user comes back, and what is saved goes on from the head.
  await one.query(`insert into users values ('${ANNA}')`);
  expect((await save(one, ANNA, 'default', 'new')).version).toBe(2);
  await one.query('commit');
  // 3. Whoever forgets him is told of both adapters, so that nothing older is served; only one of the heads is gone.
  expect((await answer).heads.map(({ key }) => key.adapterName).sort()).toEqual(['default', 'other']);
  expect(await versions()).toEqual([2]);
  expect((await observer.query('select adapter_name, latest_version from lora_adapter_heads')).rows).toEqual([
    { adapter_name: 'default', latest_version: 2 },
  ]);
});
