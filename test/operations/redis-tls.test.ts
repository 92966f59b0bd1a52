/** Redis over TLS: up and heard where its authority is named; where it is not, a tier that is down and says why. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { redisUrl } from '../support/redis.js';
import { smallAdapter, useStorage } from '../support/storage.js';
import { startTls, type TlsFront } from '../support/tls.js';
import { waitFor } from '../support/wait.js';

const bench = useStorage();
let front: TlsFront;

beforeAll(async () => {
  front = await startTls(redisUrl());
});
afterAll(() => front?.close());

test('with its authority named it is up, and its bus is live', async () => {
  const tls = { ca: readFileSync(front.certificate, 'utf8') };
  const node = await bench.open({ redis: { host: 'localhost', port: front.port, tls }, memory: false });
  expect(await node.health()).toMatchObject({ redis: 'up', bus: 'live' });
  const userId = await bench.user();
  await node.saveAdapter(smallAdapter(userId));
  await waitFor(async () => (await node.loadAdapterInfo(userId)).tier === 'redis');
});

test('without, it is down and says what to do, and the storage goes on', async () => {
  const node = await bench.open({ redis: `rediss://localhost:${front.port}` });
  const causes: string[] = [];
  node.on('degraded', ({ cause }) => causes.push(cause.message));
  const userId = await bench.user();
  expect(await node.saveAdapter(smallAdapter(userId))).toBe(1);
  await waitFor(() => causes.length > 0);
  expect(causes).toEqual([
    'cannot use Redis: its certificate is signed by nobody whom this process trusts; name its authority with tls.ca',
  ]);
  expect(await node.health()).toMatchObject({ redis: 'down', bus: 'down' });
});
