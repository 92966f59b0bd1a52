/** What the doctor says of Redis: nothing of the user of docs/redis.acl, and of others what makes nodes work when it is pasted. */
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { examine } from '../../../src/operations/doctor/examine.js';
import type { Check, Patient, Verdict } from '../../../src/operations/doctor/finding.js';
import { redisBus, redisCommands, redisDatabase, redisServer } from '../../../src/operations/doctor/redis.js';
import { Tables } from '../../../src/operations/tables.js';
import { LoRAStorage } from '../../../src/storage/lora-storage.js';
import { type OwnServer, startRedis } from '../../support/redis.js';
import { root } from '../../support/root.js';
import { smallAdapter, useStorage } from '../../support/storage.js';
import { waitFor } from '../../support/wait.js';

const rules = readFileSync(join(root, 'docs/redis.acl'), 'utf8').trim().split(/\s+/);

const bench = useStorage();
let server: OwnServer;
let admin: Redis;
let url: string;
const opened: { close(): unknown }[] = [];

beforeAll(async () => {
  server = await startRedis({ 'maxmemory-policy': 'allkeys-lru' });
  admin = new Redis(server.url);
  url = server.url.replace('//', '//lora:secret@');
});
afterAll(async () => {
  admin?.disconnect();
  await server?.stop();
});
beforeEach(() => permit(rules));
afterEach(async () => {
  await Promise.all(opened.splice(0).map((one) => one.close()));
});

async function permit(given: readonly string[]): Promise<void> {
  await admin.call('ACL', 'DELUSER', 'lora');
  await admin.call('ACL', 'SETUSER', 'lora', 'on', '>secret', ...given);
}

/** As a node of this installation would be examined. */
function patient(redis = url, namespace = 'lora'): Patient {
  const client = new Redis(redis, { enableReadyCheck: false });
  // Told of by whoever asks.
  client.on('error', () => undefined);
  const tables = Tables.openUnchecked(bench.postgresUrl, 5000);
  opened.push({ close: () => client.disconnect() }, tables);
  const cache = async () => ({ client, namespace });
  const options = { postgres: bench.postgresUrl, redis, namespace };
  return { tables, cache, options, now: Date.now };
}

/** By a shell, with the words behind `redis-cli -h … -p …` for somebody who may do anything. */
async function paste({ mend = '' }: Verdict): Promise<void> {
  expect(mend).toMatch(/^redis-cli (-u "\$REDIS_URL"|-h \S+ -p \d+) /);
  const words = mend.replace(/^redis-cli (-u "\$REDIS_URL"|-h \S+ -p \d+)/, "printf '%s\\n'");
  const env = { ...process.env, LORA_REDIS_PASSWORD: 'chosen' };
  const { stdout } = await promisify(execFile)('bash', ['-c', words], { env });
  const [command = '', ...rest] = stdout.trimEnd().split('\n');
  await admin.call(command, ...rest);
}

/** A node saves, and another is answered by Redis; nothing was refused meanwhile. */
async function nodesWork(redis: string, namespace = 'lora'): Promise<void> {
  const patience = { redisTimeoutMs: 5000, postgresTimeoutMs: 10_000, createMissingUsers: true };
  const causes: Error[] = [];
  const userId = randomUUID();
  const open = (more = {}) => LoRAStorage.open({ ...patience, postgres: bench.postgresUrl, redis, namespace, ...more });
  await using one = await open();
  await using other = await open({ memory: false });
  for (const node of [one, other]) node.on('degraded', ({ cause }) => causes.push(cause));
  await one.saveAdapter(smallAdapter(userId));
  await waitFor(async () => causes.length > 0 || (await other.loadAdapterInfo(userId)).tier === 'redis');
  expect(causes).toEqual([]);
  expect(await other.health()).toMatchObject({ redis: 'up', bus: 'live' });
}

async function refusals(): Promise<string[]> {
  const log = (await admin.call('ACL', 'LOG')) as string[][];
  return log.map((entry) => String(entry[entry.indexOf('object') + 1]));
}

async function rights(user: string): Promise<Record<'commands' | 'keys' | 'channels', string>> {
  const told = (await admin.call('ACL', 'GETUSER', user)) as unknown[];
  const after = (name: string) => String(told[told.indexOf(name) + 1]);
  return { commands: after('commands'), keys: after('keys'), channels: after('channels') };
}

describe('the user of docs/redis.acl', () => {
  test('is well in every respect, and is asked for nothing else but the time', async () => {
    await admin.call('ACL', 'LOG', 'RESET');
    const findings = await examine(patient());
    const ofRedis = findings.filter(({ name }) => name.startsWith('redis'));
    expect(ofRedis.filter(({ level }) => level !== 'ok')).toEqual([]);
    expect(ofRedis.length).toBeGreaterThan(4);
    expect(findings.find(({ name }) => name === 'redis clock')?.found).toMatch(/^not looked at/);
    expect(await refusals()).toEqual(['time']);
  });

  test.each(rules.filter((rule) => rule.startsWith('+')))('is told of when it is without %s', async (rule) => {
    await permit([...rules, rule.replace('+', '-')]);
    const one = patient();
    const found = [await redisCommands(one), await redisBus(one)].find(({ level }) => level === 'failure');
    expect(found?.found).toMatch(/NOPERM/);
    await paste(found as Verdict);
    expect([(await redisCommands(one)).level, (await redisBus(one)).level]).toEqual(['ok', 'ok']);
  });

  test('is named where not even a connection is made', async () => {
    await permit([...rules, '-ping']);
    const cache = () => Promise.reject(new Error("cannot reach Redis: NOPERM this user … run the 'ping' command"));
    const before = await redisCommands({ ...patient(), cache });
    expect(before.mend).toContain(' ACL SETUSER lora resetkeys ');
    await paste(before);
    expect(await redisCommands(patient())).toMatchObject({ level: 'ok' });
  });

  test('gets what it needs, and nothing else, where it had nothing', async () => {
    await permit(['-@all', '+ping', '~other:*']);
    await paste(await redisCommands(patient()));
    await nodesWork(url);
    const { commands, keys, channels } = await rights('lora');
    await permit(rules);
    expect({ commands, keys, channels }).toEqual(await rights('lora'));
  });

  test('has the keys and channels of its namespace, also where that has characters of patterns, and its database', async () => {
    const numbered = `${url}/3`;
    const one = patient(numbered, 'a*b');
    const before = await redisCommands(one);
    expect(before.mend).toContain(`'~a\\*b:v1:*'`);
    await paste(before);
    await admin.flushall();
    await nodesWork(numbered, 'a*b');
    const node = new Redis(url, { enableReadyCheck: false });
    await expect(node.get('aab:v1:x')).rejects.toThrow('NOPERM');
    node.disconnect();
    expect((await rights('lora')).commands).toContain('+select');
  });
});

test('the user default is left as he is, and nodes get one of their own', async () => {
  const own = await startRedis();
  const other = new Redis(own.url);
  const shared = [admin, url] as const;
  try {
    await other.call('ACL', 'SETUSER', 'root', 'on', '>root', '~*', '&*', '+@all');
    await other.call('ACL', 'SETUSER', 'default', '-set');
    const before = await redisCommands(patient(own.url));
    expect(before).toMatchObject({ level: 'failure', found: expect.stringMatching(/^refused: set: NOPERM/) });
    [admin, url] = [new Redis(own.url.replace('//', '//root:root@')), own.url.replace('//', '//lora:chosen@')];
    await paste(before);
    await nodesWork(url);
    expect((await rights('default')).keys).toBe('~*');
  } finally {
    if (admin !== shared[0]) admin.disconnect();
    [admin, url] = shared;
    await Promise.all(opened.splice(0).map((one) => one.close()));
    other.disconnect();
    await own.stop();
  }
});

describe('no right is missing', () => {
  test.each<[what: string, settings: Record<string, string>, check: Check, found: RegExp, mend: RegExp]>([
    [
      'a full one',
      { maxmemory: '1' },
      redisCommands,
      /^refused: set, .*: OOM .*: it is full/,
      /maxmemory-policy allkeys-lru/,
    ],
    ['a replica', { replicaof: '127.0.0.1 1' }, redisCommands, /READONLY.*: it is a replica/, /info replication/],
    [
      'a node of a cluster',
      { 'cluster-enabled': 'yes' },
      redisServer,
      /^it is a node of a cluster/,
      /new Cluster\(\[\{ host/,
    ],
    [
      'a cluster without slots',
      { 'cluster-enabled': 'yes' },
      redisCommands,
      /CLUSTERDOWN.*nobody serves/,
      /cluster info/,
    ],
  ])('with %s', async (_, settings, check, found, mend) => {
    const own = await startRedis(settings);
    try {
      const verdict = await check(patient(own.url));
      expect(verdict).toEqual({
        level: 'failure',
        found: expect.stringMatching(found),
        mend: expect.stringMatching(mend),
      });
      expect(verdict.mend).not.toMatch(/acl/i);
    } finally {
      await Promise.all(opened.splice(0).map((one) => one.close()));
      await own.stop();
    }
  });

  test('with a password that is not his', async () => {
    expect(await redisServer(patient(url.replace('secret', 'guessed')))).toEqual({
      level: 'failure',
      found: expect.stringMatching(/^could not be checked: WRONGPASS.*: user or password are not those that it wants$/),
      mend: expect.stringMatching(/^export REDIS_URL=redis:\/\/USER:PASSWORD@127\.0\.0\.1:\d+ #/),
    });
  });
});

describe('the database that the URL names', () => {
  test('is selected', async () => {
    await permit([...rules, '+select']);
    expect(await redisDatabase(patient())).toEqual({ level: 'ok', found: '0, which needs no SELECT' });
    expect(await redisDatabase(patient(`${url}/3`))).toEqual({ level: 'ok', found: '3' });
  });

  test('cannot be, by a user who may not', async () => {
    const before = await redisDatabase(patient(`${url}/3`));
    expect(before).toMatchObject({
      level: 'failure',
      found: expect.stringMatching(/^database 3 cannot be selected: NOPERM/),
    });
    await paste(before);
    expect(await redisDatabase(patient(`${url}/3`))).toMatchObject({ level: 'ok' });
  });

  test('is not there', async () => {
    await permit([...rules, '+select']);
    expect(await redisDatabase(patient(`${url}/99`))).toEqual({
      level: 'failure',
      found: expect.stringMatching(/^database 99 cannot be selected: .*: there is no such database$/),
      mend: expect.stringMatching(/config get databases/),
    });
  });
});
