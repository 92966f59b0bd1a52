/** What a save does behind its caller's back begins when the caller has been answered. */
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { redisUrl } from '../support/redis.js';
import { smallAdapter, useStorage } from '../support/storage.js';
import { waitFor } from '../support/wait.js';

const bench = useStorage();
let redis: Redis;
let order: string[] = [];

beforeAll(() => {
  redis = new Redis(redisUrl());
  // The commands of a real client, noted as they are handed to it.
  const send = redis.sendCommand.bind(redis);
  redis.sendCommand = (command, ...rest) => {
    order.push(command.name);
    return send(command, ...rest);
  };
});
afterAll(() => redis?.disconnect());

test('the caller of a save hears of its version before the entry for Redis is put together', async () => {
  const storage = await bench.open({ redis });
  const adapter = smallAdapter(await bench.user());
  await storage.saveAdapter(adapter);
  await waitFor(() => order.includes('publish'));
  order = [];
  await storage.saveAdapter(adapter).then(() => order.push('answered'));
  await waitFor(() => order.includes('publish'));
  const after = order.slice(order.indexOf('answered'));
  expect(after.filter((name) => /eval|publish/.test(name)).map((name) => name.replace('evalsha', 'eval'))).toEqual([
    'eval',
    'publish',
  ]);
});
