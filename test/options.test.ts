/** The caller's options: defaults, and refusals that name what is wrong. */
import { Redis } from 'ioredis';
import pg from 'pg';
import { afterAll, describe, expect, test } from 'vitest';
import { isPool, isRedisClient, type LoRAStorageOptions, parseOptions } from '../src/options.js';

const postgres = 'postgres://localhost/x';
const redis = new Redis({ lazyConnect: true });
afterAll(() => redis.disconnect());

/** What a caller without types may pass. */
const parse = (options: unknown, env: NodeJS.ProcessEnv = {}) => parseOptions(options as LoRAStorageOptions, env);

describe('defaults', () => {
  test('every option that is left out', () => {
    expect(parse({ postgres })).toEqual({
      postgres: { primary: postgres, replicas: [], direct: undefined },
      redis: undefined,
      memory: { maxBytes: 256 * 1024 * 1024 },
      namespace: 'lora',
      maxStalenessMs: 1000,
      staleIfErrorMs: 60_000,
      redisTimeoutMs: 50,
      redisTtlMs: 86_400_000,
      postgresTimeoutMs: 3000,
      maxQueue: 10_000,
      changeFeed: true,
      createMissingUsers: false,
      guard: false,
      redisEncoding: 'f32',
      fillLease: true,
    });
  });

  test('the environment names the servers where the options do not', () => {
    const env = { DATABASE_URL: postgres, REDIS_URL: 'redis://localhost' };
    expect(parse(undefined, env)).toMatchObject({ postgres: { primary: postgres }, redis: 'redis://localhost' });
    expect(parse({ postgres: 'postgres://other', redis: 'redis://other' }, env)).toMatchObject({
      postgres: { primary: 'postgres://other' },
      redis: 'redis://other',
    });
    expect(parse({ redis: false }, env).redis).toBeUndefined();
    expect(parse({}, { ...env, REDIS_URL: '' }).redis).toBeUndefined();
  });

  test('LORA_STORE_GUARD is 1, or off', () => {
    const guard = (value: string) => parse({ postgres }, { LORA_STORE_GUARD: value }).guard;
    expect(['1', '0', ''].map(guard)).toEqual([true, false, false]);
    expect(() => guard('yes')).toThrow("LORA_STORE_GUARD is 'yes': set it to 1, or unset it");
  });

  test('every value given is taken', () => {
    const numbers = { maxStalenessMs: 1, staleIfErrorMs: 0, redisTimeoutMs: 2, redisTtlMs: 100, postgresTimeoutMs: 3 };
    const more = {
      maxQueue: 0,
      changeFeed: false,
      createMissingUsers: true,
      namespace: 'a:b',
      memory: { maxBytes: 9, hotKeysFile: 'hot' },
    };
    expect(parse({ postgres, redis, ...numbers, ...more })).toMatchObject({ ...numbers, ...more, redis });
    expect(parse({ postgres, memory: false }).memory).toBeUndefined();
    expect(parse({ postgres, memory: {} }).memory).toEqual({ maxBytes: 256 * 1024 * 1024 });
    const several = { primary: postgres, replicas: ['postgres://one', { host: 'two' }], direct: 'postgres://direct' };
    expect(parse({ postgres: several }).postgres).toEqual(several);
  });
});

test('every kind of source passes as it is', () => {
  const pool = new pg.Pool();
  for (const source of ['postgresql://x', 'socket:/run', '/run/postgresql', 'embedded:./data', { host: 'x' }, pool]) {
    expect(parse({ postgres: source }).postgres.primary).toBe(source);
  }
  expect([pool, { host: 'x' }, postgres].map(isPool)).toEqual([true, false, false]);
  for (const source of ['rediss://x', '/run/redis.sock', { host: 'x' }, redis]) {
    expect(parse({ postgres, redis: source }).redis).toBe(source);
  }
  expect([redis, { host: 'x' }, 'redis://x'].map((source) => isRedisClient(source))).toEqual([true, false, false]);
});

test.each([
  ['maxStaleness', { maxStaleness: 1 }],
  ['memory.maxbytes', { memory: { maxbytes: 1 } }],
  ['postgres.replica', { postgres: { primary: postgres, replica: [] } }],
])('a misspelled option is refused by its name: %s', (name, options) => {
  expect(() => parse({ postgres, ...options })).toThrow(TypeError);
  expect(() => parse({ postgres, ...options })).toThrow(name);
});

const numbers = [
  'maxStalenessMs',
  'staleIfErrorMs',
  'redisTimeoutMs',
  'redisTtlMs',
  'postgresTimeoutMs',
  'maxQueue',
] as const;

test.each(numbers)('%s takes whole numbers within its bounds, and says so', (name) => {
  for (const value of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31, '1000', null, {}]) {
    expect(() => parse({ postgres, [name]: value })).toThrow(RangeError);
    expect(() => parse({ postgres, [name]: value })).toThrow(name);
  }
});

test.each([
  ['postgres', { postgres: 42 }],
  ['postgres', { postgres: true }],
  ['postgres', { postgres: 'mysql://localhost' }],
  ['postgres', { postgres: 'localhost' }],
  ['postgres.primary', { postgres: { primary: undefined } }],
  ['postgres.primary', { postgres: { primary: 42 } }],
  ['postgres.direct', { postgres: { primary: postgres, direct: 42 } }],
  ['postgres.direct', { postgres: { primary: postgres, direct: 'localhost' } }],
  ['postgres.replicas', { postgres: { primary: postgres, replicas: postgres } }],
  ['postgres.replicas[1]', { postgres: { primary: postgres, replicas: [postgres, 'localhost'] } }],
  ['postgres.replicas[0]', { postgres: { primary: postgres, replicas: ['embedded:./dir'] } }],
  ['postgres.replicas', { postgres: { primary: postgres, replicas: [postgres] }, changeFeed: false }],
  ['redis', { redis: 'localhost:6379' }],
  ['redis', { redis: 42 }],
  ['redis', { redis: true }],
  ['memory', { memory: true }],
  ['memory', { memory: 1024 }],
  ['memory', { memory: null }],
  ['memory.maxBytes', { memory: { maxBytes: 0 } }],
  ['memory.hotKeysFile', { memory: { hotKeysFile: '' } }],
  ['memory.hotKeysFile', { memory: { hotKeysFile: 'a\0b' } }],
  ['memory.hotKeysFile', { memory: { hotKeysFile: true } }],
  ['memory.maxBytes', { memory: { maxBytes: Number.POSITIVE_INFINITY } }],
  ['namespace', { namespace: '' }],
  ['namespace', { namespace: 'a b' }],
  ['namespace', { namespace: 'a{b' }],
  ['namespace', { namespace: 'x'.repeat(65) }],
  ['namespace', { namespace: null }],
  ['redisEncoding', { redisEncoding: 'f8' }],
  ['changeFeed', { changeFeed: 'yes' }],
  ['createMissingUsers', { createMissingUsers: 1 }],
])('a value that cannot be is refused with the option named: %s %j', (name, options) => {
  expect(() => parse({ postgres, ...options })).toThrow(name);
});

test('no Postgres at all is refused with what to do', () => {
  expect(() => parse({})).toThrow(/DATABASE_URL/);
  expect(() => parse({ postgres: '' })).toThrow(/DATABASE_URL/);
  expect(() => parse(42)).toThrow(/options must be an object/);
  expect(() => parse(null)).toThrow(/options must be an object/);
});

test('a refusal repeats no credentials', () => {
  for (const options of [{ postgres: 'mysql://u:secret@h/d' }, { redis: 'http://u:secret@h' }]) {
    expect(() => parse({ postgres, ...options })).toThrow(/^(?!.*secret)/);
  }
});

test('the caller’s object stays as it was, and the result cannot be changed', () => {
  const given = { postgres: Object.freeze({ host: 'h' }), memory: Object.freeze({ maxBytes: 5 }) };
  const before = structuredClone(given);
  const resolved = parse(Object.freeze(given));
  expect(given).toEqual(before);
  for (const part of [resolved, resolved.postgres, resolved.memory]) expect(Object.isFrozen(part)).toBe(true);
});
