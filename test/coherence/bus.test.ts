/** Redis pub/sub on a real Redis: who hears what, and how soon a bus that hears nothing is found out. */
import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Bus } from '../../src/coherence/bus.js';
import { connectRedis, type RedisConnections } from '../../src/tiers/redis-client.js';
import { type FaultProxy, startProxy } from '../support/proxy.js';
import { redisNamespace, redisUrl } from '../support/redis.js';
import { waitFor } from '../support/wait.js';
import { Notes } from './support.js';

const PATIENCE = 300;
/** Of the commands, generous: a busy machine must not make a bus look dead. */
const TIMEOUT = 2000;

interface Node {
  readonly bus: Bus;
  readonly notes: Notes;
  readonly connections: RedisConnections;
  close(): Promise<void>;
}

let prefix: string;
let proxy: FaultProxy;
let nodes: Node[];
let foreign: Redis;

beforeEach(async () => {
  prefix = `${redisNamespace()}:`;
  nodes = [];
  const { port, hostname } = new URL(redisUrl());
  proxy = await startProxy(Number(port || 6379), hostname);
  foreign = new Redis(redisUrl());
});
afterEach(async () => {
  await Promise.all((nodes ?? []).map((node) => node.close()));
  foreign?.disconnect();
  await proxy?.close();
});

async function makeNode(url = redisUrl(), { timeoutMs = TIMEOUT, subscriberUrl = url } = {}): Promise<Node> {
  const connections = await connectRedis(url, timeoutMs);
  const other = subscriberUrl === url ? undefined : await connectRedis(subscriberUrl, timeoutMs);
  const { subscriber } = other ?? connections;
  const notes = new Notes();
  const bus = new Bus(connections.client, subscriber, { prefix, maxStalenessMs: PATIENCE, timeoutMs }, notes.events);
  const close = async () => {
    bus.close();
    await Promise.all([connections.close(), other?.close()]);
  };
  const node = { bus, notes, connections, close };
  nodes.push(node);
  return node;
}

async function startNode(...args: Parameters<typeof makeNode>): Promise<Node> {
  const node = await makeNode(...args);
  await node.bus.start();
  return node;
}

const key = () => ({ userId: randomUUID(), adapterName: 'default' });
const channel = () => `${prefix}heads`;

/** Long enough that a bus that flaps would have done so. */
async function aWhile(): Promise<void> {
  const until = performance.now() + 4 * PATIENCE;
  await waitFor(() => performance.now() > until);
}

describe('messages', () => {
  test('reach every other node, once start has resolved, and not the one that sent them', async () => {
    const [a, b, c] = [await startNode(), await startNode(), await startNode()];
    expect([a, b, c].map(({ bus }) => bus.connected)).toEqual([true, true, true]);
    const { userId, adapterName } = key();
    await a.bus.publish({ userId, adapterName }, 1_790_000_000_000_001, 3);
    const heard = [{ userId, adapterName, revision: 1_790_000_000_000_001 }];
    await waitFor(() => b.notes.heard.length === 1 && c.notes.heard.length === 1);
    expect([b.notes.heard, c.notes.heard]).toEqual([heard, heard]);
    // Its own would have come before the answer to a message it hears.
    await b.bus.publish(key(), 1, 1);
    await waitFor(() => a.notes.heard.length > 0);
    expect(a.notes.heard.map(({ revision }) => revision)).toEqual([1]);
    expect([a.bus.published, a.bus.received, b.bus.received]).toEqual([1, 1, 1]);
  });

  test('of another namespace are not heard', async () => {
    const a = await startNode();
    await foreign.publish(
      `${redisNamespace()}:heads`,
      JSON.stringify({ ...key(), revision: 1, version: 1, origin: '' }),
    );
    await foreign.publish(channel(), JSON.stringify({ ...key(), revision: 2, version: 1, origin: '' }));
    await waitFor(() => a.notes.heard.length > 0);
    expect(a.notes.heard.map(({ revision }) => revision)).toEqual([2]);
  });

  test('are not heard after close, though the connection that brings them is still ending', async () => {
    const [closed, open] = [await startNode(), await startNode()];
    closed.bus.close();
    await foreign.publish(channel(), JSON.stringify({ ...key(), revision: 1, version: 1, origin: '' }));
    await waitFor(() => open.notes.heard.length > 0);
    // It would have come before the answer to what the same connection sends now.
    await closed.connections.subscriber.subscribe(`${prefix}last`);
    expect(closed.notes.heard).toEqual([]);
  });

  test('that are none of ours are ignored', async () => {
    const a = await startNode();
    const good = { ...key(), revision: 9, version: 1, origin: 'x' };
    const garbage = [
      '',
      'null',
      '42',
      '[]',
      '{',
      '\u0000\uffff',
      { ...good, revision: '9' },
      { ...good, revision: -1 },
      { ...good, revision: 1.5 },
      { ...good, revision: 2 ** 60 },
      { ...good, userId: 7 },
      { ...good, adapterName: null },
    ];
    for (const text of garbage) {
      await foreign.publish(channel(), typeof text === 'string' ? text : JSON.stringify(text));
    }
    await foreign.publish(channel(), JSON.stringify(good));
    await waitFor(() => a.notes.heard.length > 0);
    expect(a.notes.heard).toEqual([{ userId: good.userId, adapterName: 'default', revision: 9 }]);
    expect(a.bus.received).toBe(1);
    expect(a.notes.states).toEqual(['live']);
  });
});

describe('a subscription that hears nothing', () => {
  test('a healthy one is never suspected', async () => {
    const a = await startNode();
    await aWhile();
    expect(a.notes.states).toEqual(['live']);
    expect(a.bus.reconnects).toBe(0);
  });

  test('cut: lost at once, live again by itself, and hears', async () => {
    const a = await startNode(proxy.url(redisUrl()));
    proxy.cut();
    await waitFor(() => a.notes.count('lost') === 1);
    expect(a.bus.connected).toBe(false);
    await expect(a.bus.publish(key(), 1, 1)).rejects.toThrow();
    proxy.heal();
    await waitFor(() => a.bus.connected);
    expect(a.notes.states).toEqual(['live', 'lost', 'live']);
    expect(a.bus.reconnects).toBe(1);
    const b = await startNode();
    await b.bus.publish(key(), 5, 1);
    await waitFor(() => a.notes.heard.length === 1);
  });

  test.each(['both', 'answers'] as const)('half open (%s): found by itself, and replaced', async (direction) => {
    // A client that swallows commands is replaced after a multiple of its budget, and the bus is whole only then.
    const a = await makeNode(proxy.url(redisUrl()), { timeoutMs: 250 });
    await a.bus.start().catch(() => undefined);
    await waitFor(() => a.bus.connected);
    proxy.mute(direction);
    await waitFor(() => a.notes.count('lost') === 1);
    proxy.heal();
    await waitFor(() => a.bus.connected);
    expect(a.notes.states).toEqual(['live', 'lost', 'live']);
  });

  test('an acknowledgement that comes too late is asked for again, though the connection stays', async () => {
    proxy.delay(200);
    const a = await makeNode(proxy.url(redisUrl()), { timeoutMs: 50 });
    await a.bus.start().catch(() => undefined);
    await waitFor(() => a.connections.subscriber.status === 'ready');
    expect(a.bus.connected).toBe(false);
    proxy.delay(0);
    await waitFor(() => a.bus.connected);
    expect(a.notes.states).toEqual(['live']);
  });

  test('killed by CLIENT KILL', async () => {
    const a = await startNode();
    const clients = String(await foreign.call('CLIENT', 'LIST', 'TYPE', 'pubsub')).split('\n');
    const { localPort } = (a.connections.subscriber as Redis).stream as unknown as { localPort: number };
    const own = clients.find((line) => line.includes(`:${localPort} `));
    expect(await foreign.call('CLIENT', 'KILL', 'ID', /\bid=(\d+)/.exec(own ?? '')?.[1] ?? '')).toBe(1);
    await waitFor(() => a.notes.count('lost') === 1);
    await waitFor(() => a.bus.connected);
  });
});

describe('the publisher alone is down', () => {
  test('others are heard all the same, the bus says once that it is not whole, and once that it is again', async () => {
    const a = await startNode(proxy.url(redisUrl()), { subscriberUrl: redisUrl() });
    proxy.cut();
    await waitFor(() => a.notes.count('lost') === 1);
    await expect(a.bus.publish(key(), 1, 1)).rejects.toThrow();
    await aWhile();
    const b = await startNode();
    await b.bus.publish(key(), 5, 1);
    await waitFor(() => a.notes.heard.length === 1);
    expect(a.notes.states).toEqual(['live', 'lost']);
    proxy.heal();
    await waitFor(() => a.bus.connected);
    expect(a.notes.states).toEqual(['live', 'lost', 'live']);
    expect([a.bus.published, a.bus.reconnects]).toEqual([0, 1]);
  });
});

describe('beginning and end', () => {
  test('start rejects while Redis is away, and the bus comes by itself when it is back', async () => {
    proxy.cut();
    const a = await makeNode(proxy.url(redisUrl()));
    await expect(a.bus.start()).rejects.toThrow();
    expect(a.bus.connected).toBe(false);
    proxy.heal();
    await waitFor(() => a.bus.connected);
  });

  test('after close nothing is heard or said, and nothing stays connected', async () => {
    const a = await startNode(proxy.url(redisUrl()));
    const b = await startNode();
    a.bus.close();
    a.bus.close();
    await a.connections.close();
    await waitFor(() => proxy.connections === 0);
    await b.bus.publish(key(), 1, 1);
    await aWhile();
    expect(a.notes.heard).toEqual([]);
    expect(a.notes.states).toEqual(['live']);
    expect(a.bus.connected).toBe(false);
    expect(proxy.connections).toBe(0);
  });

  test('close while Redis is away ends the attempts to come back', async () => {
    const a = await startNode(proxy.url(redisUrl()));
    proxy.cut();
    await waitFor(() => a.notes.count('lost') === 1);
    a.bus.close();
    await a.connections.close();
    proxy.heal();
    await aWhile();
    expect(proxy.connections).toBe(0);
    expect(a.notes.states).toEqual(['live', 'lost']);
  });
});
