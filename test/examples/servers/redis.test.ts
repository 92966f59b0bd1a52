/** The Redis of the examples where REDIS_URL names one that cannot be used: two tiers, and the reason, without a secret. */
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { redisUrl } from '../../support/redis.js';
import { freePort } from '../../support/servers/ports.js';
import { startTls, type TlsFront } from '../../support/tls.js';

interface Closing {
  add(close: () => unknown): void;
}
type GetRedis = (closing: Closing) => Promise<{ url: string | false; words: string }>;

const path = new URL('../../../examples/servers/redis.js', import.meta.url).href;
const { getRedis } = (await import(path)) as { getRedis: GetRedis };
const closing = { add: () => expect.unreachable('nothing is started where REDIS_URL is set') };

let front: TlsFront;

beforeAll(async () => {
  front = await startTls(redisUrl());
});

afterAll(() => front?.close());

async function wordsAt(url: string): Promise<string> {
  vi.stubEnv('REDIS_URL', url);
  try {
    const found = await getRedis(closing);
    expect(found.url).toBe(false);
    return found.words;
  } finally {
    vi.unstubAllEnvs();
  }
}

test('a certificate that is not trusted', async () => {
  expect(await wordsAt(`rediss://localhost:${front.port}`)).toBe(
    'none: REDIS_URL names one that cannot be used (self-signed certificate). Two tiers, memory and Postgres',
  );
});

test('a password that is wrong', async () => {
  const url = new URL(redisUrl());
  url.username = 'nobody';
  url.password = 'not-this-one';
  const words = await wordsAt(url.toString());
  expect(words).toContain('WRONGPASS');
  expect(words).not.toContain(url.password);
});

test('nobody there, under an address or a name', async () => {
  const port = await freePort();
  for (const host of ['127.0.0.1', 'localhost']) {
    expect(await wordsAt(`redis://${host}:${port}`)).toContain('ECONNREFUSED');
  }
});

test.each([
  ['host:port, where a Redis is', new URL(redisUrl()).host],
  ['a name and a port', 'localhost:6379'],
  ['a host', '127.0.0.1'],
  ['a socket', '/run/redis/redis.sock'],
  ['a socket as a URL', 'redis:///run/redis/redis.sock'],
  ['another protocol', 'http://127.0.0.1:6379'],
  ['a port that is none', 'redis://:not-this-one@127.0.0.1:99999'],
])('another form than a URL with a host: %s', async (_, text) => {
  const words = await wordsAt(text);
  expect(words).toBe(
    'none: REDIS_URL names one that cannot be used (write it as redis://host:port or rediss://host:port). Two tiers, memory and Postgres',
  );
});

test('a URL that names a host and a port is taken', async () => {
  vi.stubEnv('REDIS_URL', redisUrl());
  try {
    expect(await getRedis(closing)).toMatchObject({ url: redisUrl() });
  } finally {
    vi.unstubAllEnvs();
  }
});
