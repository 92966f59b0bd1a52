/** docs/redis.acl on a real Redis: a storage does its whole job as that user, needs each right, and gets no further. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { LoRAStorage } from '../../src/index.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { type OwnServer, startRedis } from '../support/redis.js';
import { root } from '../support/root.js';
import { smallAdapter } from '../support/storage.js';
import { waitFor } from '../support/wait.js';

const rules = readFileSync(join(root, 'docs/redis.acl'), 'utf8').trim().split(/\s+/);
const commands = rules.filter((rule) => rule.startsWith('+'));

let redis: OwnServer;
let database: TestDatabase;
let admin: Redis;
let url: string;

beforeAll(async () => {
  [redis, database] = await Promise.all([startRedis(), createDatabase()]);
  admin = new Redis(redis.url);
  url = redis.url.replace('//', '//lora:only%20for%20this@');
});

afterAll(async () => {
  admin?.disconnect();
  await redis?.stop();
  await database?.drop();
});

beforeEach(() => permit(rules));

/** The rules, for a user that nobody is logged in as, and an empty log of refusals. */
async function permit(given: readonly string[]): Promise<void> {
  await admin.call('ACL', 'DELUSER', 'lora');
  await admin.call('ACL', 'SETUSER', 'lora', 'on', '>only for this', ...given);
  await admin.call('ACL', 'LOG', 'RESET');
  // As on a server that never saw one: scripts are sent by their sums first.
  await admin.script('FLUSH');
  await admin.flushall();
}

/** What Redis refused, in its words: `command`, `key`, `channel`, and of what. */
async function refusals(): Promise<string[]> {
  const log = (await admin.call('ACL', 'LOG')) as string[][];
  return log.map((entry) => `${entry[entry.indexOf('reason') + 1]} ${entry[entry.indexOf('object') + 1]}`);
}

function open(node: { memory?: false; namespace?: string; redisTimeoutMs?: number } = {}): Promise<LoRAStorage> {
  const patience = { redisTimeoutMs: 5000, maxStalenessMs: 5000, postgresTimeoutMs: 10_000 };
  return LoRAStorage.open({ postgres: database.url, redis: url, createMissingUsers: true, ...patience, ...node });
}

/**
 * Everything that a storage asks of Redis: each script, a batch, both ways of the bus, and erasing. It ends as soon as it
 * is `enough`.
 */
async function wholeJob(options: { redisTimeoutMs?: number } = {}, enough = async () => false): Promise<void> {
  const nodes = [await open({ ...options, memory: false }), await open(options)] as const;
  const [one, other] = nodes;
  const userId = randomUUID();
  const key = `lora:v1:{${userId}}:default`;
  const kept = () => waitFor(async () => (await admin.strlen(key)) > 48 || (await refusals()).length > 0);
  // Written over what was there, filled over a token, dropped as garbage, verified by who came later, cleared, erased.
  const steps: (() => Promise<unknown>)[] = [
    () => one.saveAdapter(smallAdapter(userId, 1)),
    () => heard(other, userId, () => one.saveAdapter(smallAdapter(userId, 2))),
    kept,
    () => admin.del(key),
    () => one.loadAdapter(userId),
    kept,
    () => admin.setrange(key, 16, Buffer.alloc(16) as unknown as string),
    () => one.loadAdapter(userId),
    () => one.loadAdapter(userId),
    async () => {
      const late = await open({ ...options, memory: false });
      await late.loadAdapter(userId).finally(() => late.close());
    },
    () => one.health(),
    () => one.loadAdapters([{ userId }, { userId, adapterName: 'none' }]),
    () => heard(other, userId, () => one.deleteAdapter(userId)),
    () => one.saveAdapter(smallAdapter(userId, 3)),
    () => one.forgetUser(userId).catch(() => undefined),
  ];
  try {
    for (const step of steps) {
      await step();
      if (await enough()) return;
    }
  } finally {
    await Promise.all(nodes.map((node) => node.close()));
  }
}

/** Does it, and waits until `node` has heard of it by the bus, unless Redis refuses. */
async function heard(node: LoRAStorage, userId: string, write: () => Promise<unknown>): Promise<void> {
  await node.loadAdapter(userId).catch(() => undefined);
  const before = node.cacheStats().bus.received;
  await write();
  await waitFor(async () => node.cacheStats().bus.received > before || (await refusals()).length > 0);
}

test('a storage does its whole job, and nothing is refused', async () => {
  await wholeJob();
  expect(await refusals()).toEqual([]);
});

test('it is up, and its bus is live', async () => {
  const node = await open();
  try {
    expect(await node.health()).toMatchObject({ redis: 'up', bus: 'live' });
  } finally {
    await node.close();
  }
});

test('a wrong password is told of, and not repeated', async () => {
  const patience = { redisTimeoutMs: 5000, postgresTimeoutMs: 10_000 };
  const redisUrl = redis.url.replace('//', '//lora:guessed@');
  const node = await LoRAStorage.open({
    postgres: database.url,
    redis: redisUrl,
    createMissingUsers: true,
    ...patience,
  });
  const causes = new Map<string, Error>();
  node.on('degraded', ({ tier, cause }) => causes.set(tier, cause));
  await node.saveAdapter(smallAdapter(randomUUID()));
  await node.close();
  expect([...causes.keys()].sort()).toEqual(['bus', 'redis']);
  for (const { message } of causes.values()) expect(message).toMatch(/^cannot use Redis: WRONGPASS/);
  expect(inspect(causes, { depth: 10, showHidden: true })).not.toContain('guessed');
});

// No right without a use: take one away, and the same job meets a refusal.
test.each(commands.map((rule) => rule.slice(1)))('it needs %s', async (command) => {
  await permit([...rules, `-${command}`]);
  const base = command.split('|')[0] as string;
  const refused = async () => (await refusals()).some((refusal) => refusal.startsWith(`command ${base}`));
  // Who may not read waits for as long as a fill might take.
  await wholeJob({ redisTimeoutMs: 2000 }, refused);
  expect(await refused()).toBe(true);
});

describe('outside', () => {
  let client: Redis;
  beforeEach(async () => {
    client = new Redis(url, { enableReadyCheck: false, retryStrategy: () => null });
    await admin.set('session:1', 'of somebody else');
    return () => client.disconnect();
  });

  test.each([
    ['a key of another namespace', ['GET', 'session:1']],
    ['a key that only begins alike', ['GET', 'lora:v10:x']],
    ['a key in a script', ['EVAL', "return redis.call('GET', KEYS[1])", '1', 'session:1']],
    ['a key that a script does not name', ['EVAL', "return redis.call('GET', 'session:1')", '0']],
    ['a channel of another namespace, to publish', ['PUBLISH', 'sessions', 'x']],
    ['a channel of another namespace, to hear', ['SUBSCRIBE', 'sessions']],
    ['all channels', ['PSUBSCRIBE', '*']],
    ['all keys', ['KEYS', '*']],
    ['a flush', ['FLUSHALL']],
    ['another type', ['HSET', 'lora:v1:x', 'a', 'b']],
    ['the configuration', ['CONFIG', 'GET', 'requirepass']],
    ['other users', ['ACL', 'LIST']],
    ['other clients', ['CLIENT', 'LIST']],
    ['a dump', ['DUMP', 'lora:v1:x']],
    ['a replica of all', ['PSYNC', '?', '-1']],
    ['another owner', ['REPLICAOF', '127.0.0.1', '1']],
    ['the watching of all commands', ['MONITOR']],
  ])('%s is refused', async (_, [command = '', ...args]) => {
    await expect(client.call(command, ...args)).rejects.toThrow(/NOPERM|can't access at least one of the keys/);
  });

  test('a storage of another namespace goes on without Redis', async () => {
    const node = await open({ namespace: 'other' });
    const userId = randomUUID();
    try {
      expect(await node.saveAdapter(smallAdapter(userId))).toBe(1);
      await node.loadAdapter(userId);
      expect((await node.health()).bus).toBe('down');
    } finally {
      await node.close();
    }
    expect(await admin.keys('other:*')).toEqual([]);
  });
});
