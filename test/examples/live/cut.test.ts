/** The cut of Redis by the live page: it lasts as long as its words say, on a clock that the test turns. */
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { redisUrl } from '../../support/redis.js';

interface Proxy {
  readonly isCut: boolean;
  close(): Promise<void>;
}
type Cut = () => Promise<{ text: string }>;

const examples = new URL('../../../examples/live/', import.meta.url);
const { createActions } = (await import(new URL('actions.js', examples).href)) as {
  createActions(parts: { state: object; proxy: Proxy; cutMs: number }): { cut: Cut };
};
const { startProxy } = (await import(new URL('proxy.js', examples).href)) as {
  startProxy(target: string): Promise<Proxy>;
};

let proxy: Proxy;

beforeAll(async () => {
  proxy = await startProxy(redisUrl());
});

afterAll(() => proxy?.close());

test.each([
  [5000, '5 s'],
  [1500, '1.5 s'],
])('of %i ms: until then, and no longer', async (cutMs, words) => {
  const { cut } = createActions({ state: {}, proxy, cutMs });
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  try {
    expect((await cut()).text).toBe(`Redis is cut for ${words}. Loads go on from memory and Postgres.`);
    vi.advanceTimersByTime(cutMs - 1);
    expect(proxy.isCut).toBe(true);
    await expect(cut()).rejects.toThrow('Redis is cut already.');
    vi.advanceTimersByTime(1);
    expect(proxy.isCut).toBe(false);
  } finally {
    vi.useRealTimers();
  }
});
