/** The live page over a Redis that is reached by TLS (rediss://), by address and by name: it answers, and can be cut. */
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type OwnServer, startRedis } from '../../support/redis.js';
import { startTls, type TlsFront } from '../../support/tls.js';
import { waitFor } from '../../support/wait.js';
import { useLivePage } from './stack.js';

let redis: OwnServer;
let front: TlsFront;
let admin: Redis;

beforeAll(async () => {
  redis = await startRedis();
  front = await startTls(redis.url);
  admin = new Redis(redis.url);
  await admin.call('ACL', 'SETUSER', 'live', 'on', '>only for this', '~*', '&*', '+@all');
});

afterAll(async () => {
  admin?.disconnect();
  await front?.close();
  await redis?.stop();
});

describe.each([
  ['127.0.0.1', false],
  ['localhost', 'localhost'],
])('at %s', (host, name) => {
  const stack = useLivePage({
    env: () => ({
      REDIS_URL: `rediss://live:only%20for%20this@${host}:${front.port}`,
      NODE_EXTRA_CA_CERTS: front.certificate,
    }),
    traffic: true,
  });

  test('the nodes are connected, as the user that REDIS_URL names, and load from it', async () => {
    const page = await stack.open();
    await page.getByText('Live, Redis connected').waitFor();
    for (const node of ['A', 'B']) {
      for (const [part, state] of Object.entries({ redis: 'up', bus: 'live' })) {
        await page.locator(`[data-part="${node} ${part}"]`, { hasText: state }).waitFor();
      }
    }
    const clients = String(await admin.client('LIST')).match(/user=live/g) ?? [];
    // Of each node one for commands and one that listens.
    expect(clients.length).toBeGreaterThanOrEqual(4);
    expect(new Set(front.names.slice(-clients.length))).toEqual(new Set([name]));
    await waitFor(async () =>
      /[1-9]\d* loads/.test((await page.locator('#chart-redis').getAttribute('aria-label')) ?? ''),
    );
    await page.close();
  });

  test('it can be cut, and heals', async () => {
    const page = await stack.open();
    await page.click('[data-action=cut]');
    await page.getByText('Live, Redis is cut').waitFor();
    for (const node of ['A', 'B']) await page.locator(`[data-part="${node} bus"]`, { hasText: 'degraded' }).waitFor();
    await page.getByText('Live, Redis connected').waitFor();
    for (const node of ['A', 'B']) await page.locator(`[data-part="${node} bus"]`, { hasText: 'live' }).waitFor();
    expect(stack.complaints).toEqual([]);
    expect(stack.printed).not.toMatch(/warning/i);
    await page.close();
  });
});
