/** A Redis database that cannot be selected: nothing is read or written in another one, and the tier says why it is down. */
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type OwnServer, startRedis } from '../support/redis.js';
import { smallAdapter, useStorage } from '../support/storage.js';
import { waitFor } from '../support/wait.js';

const bench = useStorage();
let server: OwnServer;
let admin: Redis;

beforeAll(async () => {
  server = await startRedis({ databases: '8' });
  admin = new Redis(server.url);
  await admin.call('ACL', 'SETUSER', 'lora', 'on', '>only for this', '~*', '&*', '+@all', '-select');
});
afterAll(async () => {
  admin?.disconnect();
  await server?.stop();
});

function urlOf(database: number, username = ''): string {
  const url = new URL(server.url);
  if (username !== '') Object.assign(url, { username, password: 'only for this' });
  url.pathname = `/${database}`;
  return url.toString();
}

const keysIn = async (database: number) => {
  await admin.select(database);
  return await admin.keys('*');
};

async function open(url: string) {
  const node = await bench.open({ redis: url, memory: false });
  const causes: string[] = [];
  node.on('degraded', ({ tier, cause }) => tier === 'redis' && causes.push(cause.message));
  return { node, causes };
}

test.each([
  [
    'there is none of that number',
    () => urlOf(99),
    /^cannot use Redis: database 99 cannot be selected \(ERR .*\+select/,
  ],
  ['the user may not', () => urlOf(3, 'lora'), /^cannot use Redis: database 3 cannot be selected \(NOPERM .*\+select/],
])('%s: the tier is down and unused, and the storage goes on', async (_, url, message) => {
  const { node, causes } = await open(url());
  const userId = await bench.user();
  for (const version of [1, 2]) {
    expect(await node.saveAdapter(smallAdapter(userId, version))).toBe(version);
    expect(await node.loadAdapterInfo(userId)).toMatchObject({ version, tier: 'postgres' });
  }
  await waitFor(() => causes.length > 0);
  expect(causes).toEqual([expect.stringMatching(message)]);
  expect(causes.join()).not.toContain('only for this');
  expect(await node.health()).toMatchObject({ redis: 'down' });
  // Its fills go on behind the answers: what they would have left is there when it has closed.
  await node.close();
  expect([await keysIn(0), await keysIn(3)]).toEqual([[], []]);
});

test('once he may, it is used, in its own database', async () => {
  const { node, causes } = await open(urlOf(3, 'lora'));
  const userId = await bench.user();
  await node.saveAdapter(smallAdapter(userId));
  await waitFor(() => causes.length > 0);
  let recovered = 0;
  node.on('recovered', ({ tier }) => tier === 'redis' && recovered++);
  await admin.call('ACL', 'SETUSER', 'lora', '+select');
  await waitFor(async () => (await node.loadAdapterInfo(userId)).tier === 'redis');
  await waitFor(() => recovered === 1);
  expect([(await keysIn(0)).length, (await keysIn(3)).length]).toEqual([0, 1]);
  expect(causes).toHaveLength(1);
});
