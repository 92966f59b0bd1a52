/** The background traffic: whom it asks for, and when it rests. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { waitFor } from '../../support/wait.js';

interface Traffic {
  set(on: boolean): void;
  close(): Promise<void>;
}
type CreateTraffic = (nodes: { name: string; url: string }[], writer: object, isWatched: () => boolean) => Traffic;

const examples = new URL('../../../examples/live/', import.meta.url);
const { createTraffic, zipfUser } = (await import(new URL('traffic.js', examples).href)) as {
  createTraffic: CreateTraffic;
  zipfUser(random: number): string;
};
const { USERS } = (await import(new URL('users.js', examples).href)) as { USERS: string[] };

let node: Server;
let ranked = 0;

beforeAll(async () => {
  node = createServer((request, response) => {
    if (request.url?.endsWith('/rank')) ranked++;
    request.resume().on('end', () => response.end('{}'));
  }).listen(0, '127.0.0.1');
  await once(node, 'listening');
});

afterAll(() => node?.close());

test('a ranking each step, none while nobody looks, and none once it is off', async () => {
  const url = `http://127.0.0.1:${(node.address() as AddressInfo).port}`;
  let watched = false;
  // Fewer steps than until the writer's first turn.
  const traffic = createTraffic([{ name: 'A', url }], {}, () => watched);
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  try {
    const steps = (count: number) => {
      for (let i = 0; i < count; i++) vi.advanceTimersToNextTimer();
    };
    traffic.set(true);
    steps(20);
    watched = true;
    steps(5);
    await waitFor(() => ranked === 5);
    traffic.set(false);
    steps(20);
    traffic.set(true);
    steps(5);
    await waitFor(() => ranked >= 10);
    await traffic.close();
    steps(20);
    expect(ranked).toBe(10);
  } finally {
    vi.useRealTimers();
  }
});

test('users are asked for by Zipf’s law, and every one of them is', () => {
  const draws = 100_000;
  const counts = new Map<string, number>(USERS.map((user) => [user, 0]));
  for (let i = 0; i < draws; i++) {
    const user = zipfUser((i + 0.5) / draws);
    counts.set(user, (counts.get(user) ?? 0) + 1);
  }
  expect([...counts.keys()]).toEqual(USERS);
  const first = counts.get(USERS[0] ?? '') ?? 0;
  for (const [i, user] of USERS.entries()) expect((counts.get(user) ?? 0) * (i + 1)).toBeCloseTo(first, -2);
});
