/** Every error of the package, provoked: one clear sentence, the code, and nothing half done. */
import { randomUUID } from 'node:crypto';
import { inspect } from 'node:util';
import pg from 'pg';
import { beforeAll, describe, expect, test } from 'vitest';
import { UserLoRAAdapter } from '../../src/adapter/adapter.js';
import { encodeAdapter } from '../../src/adapter/codec.js';
import {
  AdapterCorruptError,
  InvalidAdapterError,
  LoRAStorageError,
  SchemaError,
  StorageOverloadedError,
  StorageUnavailableError,
} from '../../src/errors.js';
import type { LoRAStorageOptions } from '../../src/options.js';
import { LoRAStorage } from '../../src/storage/lora-storage.js';
import { createDatabase } from '../support/database.js';
import { smallAdapter, useStorage } from '../support/storage.js';

const bench = useStorage();
let storage: LoRAStorage;

beforeAll(async () => {
  storage = await bench.open();
});

async function failure(work: Promise<unknown>): Promise<LoRAStorageError> {
  const error = await work.then(
    () => new Error('it succeeded'),
    (reason) => reason,
  );
  expect(error).toBeInstanceOf(LoRAStorageError);
  return error as LoRAStorageError;
}

describe('the caller’s input', () => {
  const calls: [string, (userId: string) => Promise<unknown>][] = [
    ['a user id that is none', () => storage.loadAdapter('nobody')],
    ['a name of no characters', (userId) => storage.loadAdapter(userId, '')],
    ['a name of 101 characters', (userId) => storage.saveAdapter(smallAdapter(userId), 'x'.repeat(101))],
    ['a version that is none', (userId) => storage.loadAdapterVersion(userId, 'default', 0)],
    [
      'an expectedVersion that is none',
      (userId) => storage.saveAdapter(smallAdapter(userId), 'a', { expectedVersion: -1 }),
    ],
    ['nothing to keep', () => storage.pruneVersions({ keepLatest: 0 })],
    ['no number of days', () => storage.pruneOlderThan({ olderThanDays: Number.NaN })],
    ['something that is no adapter', () => storage.saveAdapter(undefined as unknown as UserLoRAAdapter)],
    ['a misspelled option', (userId) => storage.saveAdapter(smallAdapter(userId), 'a', { expectVersion: 1 } as object)],
    ['no options to prune by', () => storage.pruneVersions(undefined as unknown as { keepLatest: number })],
    ['keys that are no array', () => storage.loadAdapters(undefined as unknown as [])],
    [
      'a budget that is no time',
      (userId) => storage.loadAdapterOr(userId, 'a', () => smallAdapter(userId), { budgetMs: -1 }),
    ],
    ['a user id among others', (userId) => storage.loadAdapters([{ userId }, { userId: 'nobody' }])],
  ];
  test.each(calls)('%s is an InvalidAdapterError', async (_, call) => {
    const error = await failure(call(await bench.user()));
    expect(error).toBeInstanceOf(InvalidAdapterError);
    expect(error.code).toBe('INVALID_ADAPTER');
  });

  test('a name of 100 characters, however wide, is stored', async () => {
    const userId = await bench.user();
    const name = '𝔏'.repeat(100);
    await storage.saveAdapter(smallAdapter(userId), name);
    expect((await (await bench.open({ memory: false })).loadAdapterInfo(userId, name)).version).toBe(1);
  });

  test('NaN weights and trainingIterations beyond int4 are refused before anything is sent', async () => {
    const userId = await bench.user();
    const nan = smallAdapter(userId).updateWeights((base) => base.fill(Number.NaN));
    expect(await failure(storage.saveAdapter(nan))).toBeInstanceOf(InvalidAdapterError);
    const trained = smallAdapter(userId);
    for (const iterations of [2 ** 31, -1, 1.5]) {
      trained.trainingIterations = iterations;
      expect((await failure(storage.saveAdapter(trained))).message).toContain('trainingIterations');
    }
    expect(await storage.countAdapters(userId)).toBe(0);
    trained.trainingIterations = 2 ** 31 - 1;
    await storage.saveAdapter(trained);
    expect((await storage.loadAdapter(userId)).trainingIterations).toBe(2 ** 31 - 1);
  });
});

describe('absence', () => {
  test('AdapterNotFoundError names user, adapter and version, and says “not found”', async () => {
    const userId = await bench.user();
    const error = await failure(storage.loadAdapter(userId, 'x'));
    expect(error).toMatchObject({ code: 'ADAPTER_NOT_FOUND', userId, adapterName: 'x' });
    expect(error.message).toContain('not found');
    expect(await failure(storage.loadAdapterVersion(userId, 'x', 7))).toMatchObject({ version: 7 });
  });

  test('a save for a user who has no row is a UserNotFoundError, unless createMissingUsers', async () => {
    const userId = randomUUID();
    const error = await failure(storage.saveAdapter(smallAdapter(userId)));
    expect(error).toMatchObject({ code: 'USER_NOT_FOUND', userId });
    expect(error.message).toContain('createMissingUsers');
    expect(await bench.sql('select from lora_adapter_heads where user_id = $1', [userId])).toEqual([]);
    const creating = await bench.open({ createMissingUsers: true });
    expect(await creating.saveAdapter(smallAdapter(userId))).toBe(1);
  });

  test('createMissingUsers makes no user for a save that is refused', async () => {
    const userId = randomUUID();
    const creating = await bench.open({ createMissingUsers: true });
    const error = await failure(creating.saveAdapter(smallAdapter(userId), 'default', { expectedVersion: 4 }));
    expect(error).toMatchObject({ code: 'VERSION_CONFLICT', actualVersion: 0 });
    expect(await bench.sql('select from users where id = $1', [userId])).toEqual([]);
  });
});

describe('bad bytes in Postgres', () => {
  async function store(userId: string, weights: Buffer): Promise<void> {
    await bench.sql('insert into lora_adapters (user_id, version, weights, size_bytes) values ($1, 1, $2, 1)', [
      userId,
      weights,
    ]);
  }

  test('truncated, and another user’s: AdapterCorruptError with its place, and an event', async () => {
    const node = await bench.open();
    const events: unknown[] = [];
    node.on('corrupt', (event) => events.push(event));
    const [cut, foreign] = [await bench.user(), await bench.user()];
    await store(cut, encodeAdapter(smallAdapter(cut)).subarray(0, 99));
    await store(foreign, encodeAdapter(smallAdapter(randomUUID())));
    const error = await failure(node.loadAdapter(cut));
    expect(error).toBeInstanceOf(AdapterCorruptError);
    expect(error).toMatchObject({ code: 'ADAPTER_CORRUPT' });
    expect(error.message).toContain('deserialize');
    expect((error as AdapterCorruptError).offset).toBeTypeOf('number');
    expect(await failure(node.loadAdapter(foreign))).toMatchObject({ code: 'ADAPTER_CORRUPT', offset: 8 });
    expect(events).toMatchObject([
      { userId: cut, tier: 'postgres' },
      { userId: foreign, tier: 'postgres' },
    ]);
    expect(node.peekAdapter(cut)).toBeUndefined();
  });

  test('in loadAdapters they are an answer, not a rejection', async () => {
    const [bad, good] = [await bench.user(), await bench.user()];
    await store(bad, Buffer.from('no record'));
    await storage.saveAdapter(smallAdapter(good));
    const [first, second] = await storage.loadAdapters([{ userId: bad }, { userId: good }]);
    expect(first).toBeInstanceOf(AdapterCorruptError);
    expect(second).toMatchObject({ userId: good });
  });

  test('loadAdapterOr falls back', async () => {
    const userId = await bench.user();
    await store(userId, Buffer.from('no record'));
    const fallback = smallAdapter(userId);
    expect(await storage.loadAdapterOr(userId, 'default', () => fallback)).toBe(fallback);
  });
});

describe('a server that is not as it should be', () => {
  test('a database without the schema: SchemaError names the command that migrates', async () => {
    const empty = await createDatabase({ template: 'empty' });
    const error = await failure(LoRAStorage.open({ postgres: empty.url, redis: false }));
    expect(error).toBeInstanceOf(SchemaError);
    expect(error).toMatchObject({ code: 'SCHEMA_OUT_OF_DATE' });
    expect(error.message).toContain('npx lora-store migrate up');
    await empty.drop();
  });

  test('a dead port and a wrong database: StorageUnavailableError without credentials', async () => {
    const url = new URL(bench.postgresUrl);
    url.password = 'hunter2';
    const nowhere = new URL(url);
    nowhere.pathname = '/nowhere';
    const dead = new URL(url);
    dead.port = '1';
    for (const postgres of [nowhere, dead]) {
      const error = await failure(LoRAStorage.open({ postgres: postgres.toString(), redis: false }));
      expect(error).toBeInstanceOf(StorageUnavailableError);
      expect(error.message).not.toContain('hunter2');
      expect(error.cause).toBeDefined();
    }
  });

  test('a URL that cannot be read is refused by the name of its option, and not repeated', async () => {
    const bad: [string, LoRAStorageOptions][] = [
      ['redis', { postgres: bench.postgresUrl, redis: 'redis://:hunter2@127.0.0.1:notaport' }],
      ['postgres', { postgres: 'postgres://u:hunter2@127.0.0.1:notaport/d', redis: false }],
      [
        'postgres.direct',
        { postgres: { primary: bench.postgresUrl, direct: 'postgres://u:hunter2@h:notaport/d' }, redis: false },
      ],
    ];
    for (const [option, options] of bad) {
      const error = await LoRAStorage.open(options).catch((reason) => reason);
      expect(error).toBeInstanceOf(TypeError);
      expect(error.message).toContain(`option ${option} cannot be read`);
      expect(inspect(error)).not.toContain('hunter2');
    }
  });

  test('a wrong password says so', async () => {
    await bench.sql(`create role lora_guest login password 'right'`);
    const { host, port, database } = new pg.Client(bench.postgresUrl);
    const open = LoRAStorage.open({
      postgres: { host, port, database: String(database), user: 'lora_guest', password: 'wrong' },
      redis: false,
    });
    const error = await open.then(
      // A server that trusts loopback asks for no password; then the role lacks the rights instead.
      async (opened) => {
        const refused = await failure(opened.listAdapters(randomUUID()));
        await opened.close();
        return refused;
      },
      (reason) => reason as LoRAStorageError,
    );
    expect(error).toBeInstanceOf(StorageUnavailableError);
    expect(error.message).toMatch(/refused/);
    expect(error.message).not.toContain('wrong');
    await bench.sql('drop role lora_guest');
  });

  test('more waiting loads than maxQueue: StorageOverloadedError', async () => {
    const node = await bench.open({
      postgres: { connectionString: bench.postgresUrl, max: 1 },
      redis: false,
      memory: false,
      maxQueue: 2,
    });
    const loads = Array.from({ length: 20 }, async () => node.countAdapters(randomUUID()));
    const results = await Promise.allSettled(loads);
    const refused = results.filter((result) => result.status === 'rejected').map((result) => result.reason);
    expect(refused.length).toBeGreaterThan(0);
    for (const reason of refused) expect(reason).toBeInstanceOf(StorageOverloadedError);
    expect(results.filter((result) => result.status === 'fulfilled').length).toBeGreaterThan(0);
    expect(await node.countAdapters(randomUUID())).toBe(0);
  });
});

describe('after close()', () => {
  test('every call rejects with StorageClosedError, and close() is idempotent', async () => {
    const node = await bench.open();
    const userId = await bench.user();
    await node.saveAdapter(smallAdapter(userId));
    const pending = node.loadAdapter(await bench.user()).catch((error) => error.code);
    await Promise.all([node.close(), node.close()]);
    expect(await pending).toBe('ADAPTER_NOT_FOUND');
    for (const call of [
      () => node.loadAdapter(userId),
      () => node.saveAdapter(new UserLoRAAdapter(userId)),
      () => node.listAdapters(userId),
      () => node.loadAdapters([{ userId }]),
      () => node.health(),
      async () => node.peekAdapter(userId),
    ]) {
      expect(await failure(call())).toMatchObject({ code: 'STORAGE_CLOSED' });
    }
    await node.close();
  });
});
