/**
 * The bus on a cluster: sixteen channels in slots of their own, by sharded pub/sub. Each is heard, each is proven by
 * messages to oneself, and each is found again when its slot moves, its master is killed, or it hears nothing.
 */

import { Cluster, Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Bus } from '../../src/coherence/bus.js';
import { slotOf } from '../../src/coherence/slot.js';
import { connectRedis } from '../../src/tiers/redis-client.js';
import { redisNamespace } from '../support/redis.js';
import { type ClusterNode, TestRedisCluster } from '../support/redis-cluster.js';
import { waitFor } from '../support/wait.js';
import { Notes } from './support.js';

/** A stall of a busy machine must not pass for a second outage. */
const PATIENCE = 2000;
const TIMEOUT = 5000;

interface Node {
  readonly bus: Bus;
  readonly notes: Notes;
  close(): Promise<void>;
}

const DIGITS = [...'0123456789abcdef'];
/** One for each channel: the last digit decides. */
const users = DIGITS.map((digit) => `3f2b8c1e-5d4a-4c6b-9e7f-0a1b2c3d4e5${digit}`);
const slots = DIGITS.map((digit) => slotOf(`{${digit}-bus}`));

let prefix: string;
let nodes: Node[];

beforeEach(() => {
  prefix = `${redisNamespace()}:`;
  nodes = [];
});
afterEach(() => Promise.all((nodes ?? []).map((node) => node.close())));

async function startNode(redis: TestRedisCluster, options: ConstructorParameters<typeof Cluster>[1] = {}) {
  const client = new Cluster(redis.startup, options);
  client.on('error', () => undefined);
  const connections = await connectRedis(client, TIMEOUT);
  const notes = new Notes();
  const reach = { prefix, maxStalenessMs: PATIENCE, timeoutMs: TIMEOUT };
  const bus = new Bus(client, connections.subscriber, reach, notes.events);
  const node: Node = {
    bus,
    notes,
    async close() {
      bus.close();
      await connections.close();
      client.disconnect();
    },
  };
  nodes.push(node);
  await bus.start().catch(() => undefined);
  await waitFor(() => bus.connected, { timeoutMs: 20_000 });
  return node;
}

let revision = 0;

/** Every one of these users is told of by `from` and heard of by `to`. */
async function reaches(from: Node, to: Node, ofWhom = users): Promise<void> {
  for (const userId of ofWhom) {
    const said = ++revision;
    await from.bus.publish({ userId, adapterName: 'default' }, said, 1);
    await waitFor(() => to.notes.heard.some((heard) => heard.userId === userId && heard.revision === said), {
      what: `word of ${userId}`,
    });
  }
}

describe('on three masters', () => {
  let redis: TestRedisCluster;

  beforeAll(async () => {
    redis = await TestRedisCluster.start();
  });
  afterAll(() => redis?.stop());

  const subscriptions = async (node: ClusterNode): Promise<string[]> =>
    ((await node.raw.call('PUBSUB', 'SHARDCHANNELS')) as string[]).filter((name) => name.includes(prefix));

  test('word of every user arrives, through the master of its channel, and none comes back', async () => {
    const [a, b] = [await startNode(redis), await startNode(redis)];
    const bystander = new Redis((await redis.ownerOf(slots[7] ?? -1)).server.url);
    const overheard: string[] = [];
    bystander.on('smessage', (_, text: string) => overheard.push(JSON.parse(text).userId));
    await bystander.ssubscribe(`${prefix}{7-bus}:heads`);
    await reaches(a, b);
    expect(a.notes.heard).toEqual([]);
    // The one user whose channel it is.
    await waitFor(() => overheard.length > 0);
    expect(overheard).toEqual(users.slice(7, 8));
    bystander.disconnect();
    const masters = await redis.masters();
    const counts = await Promise.all(masters.map(async (node) => (await subscriptions(node)).length));
    // For each channel one of words, and one of echoes for each of the two nodes.
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(3 * 16);
    expect(Math.min(...counts)).toBeGreaterThan(0);
    expect([...a.notes.states, ...b.notes.states]).toEqual(['live', 'live']);
  });

  test('nodes whose clients put a prefix before keys hear each other', async () => {
    const [a, b] = [await startNode(redis, { keyPrefix: 'p:' }), await startNode(redis, { keyPrefix: 'p:' })];
    await reaches(a, b);
    await reaches(b, a);
  });

  test('a healthy one is never suspected', async () => {
    const a = await startNode(redis);
    const until = performance.now() + 4 * PATIENCE;
    await waitFor(() => performance.now() > until);
    expect([a.notes.states, a.bus.reconnects]).toEqual([['live'], 0]);
  });

  test('the slot of a channel moves: its subscription follows', async () => {
    const [a, b] = [await startNode(redis), await startNode(redis)];
    const slot = slots[7] ?? expect.fail();
    const to = await redis.strangerTo(slot);
    const from = await redis.beginMove(slot, to);
    await reaches(a, b, users.slice(7, 8));
    await redis.endMove(slot, to);
    const own = (names: string[]) => names.filter((name) => name.includes('{7-bus}')).length;
    await waitFor(async () => own(await subscriptions(to)) === 3 && own(await subscriptions(from)) === 0);
    await waitFor(() => a.bus.connected && b.bus.connected);
    await reaches(a, b);
  });

  test.each(['kill', 'pause'] as const)(
    'a master that is gone (%s): found by itself, the others are heard on, and all again when its replica serves',
    async (how) => {
      const [a, b] = [await startNode(redis), await startNode(redis)];
      const owners = await Promise.all(slots.map((slot) => redis.ownerOf(slot)));
      const ill = owners[0] ?? expect.fail();
      const replica = await redis.replicaOf(ill);
      await ill.server[how]();
      await waitFor(() => a.notes.count('lost') === 1 && b.notes.count('lost') === 1);
      const others = users.filter((_, i) => owners[i] !== ill);
      await reaches(a, b, others);
      await redis.promoted(replica);
      await waitFor(() => a.bus.connected && b.bus.connected, { timeoutMs: 30_000 });
      await reaches(a, b);
      await reaches(b, a);
      // Told once that it was lost, and once that it was back, for all the attempts in between.
      expect([a.notes.states, b.notes.states]).toEqual(Array(2).fill(['live', 'lost', 'live']));
      await (how === 'kill' ? ill.server.restart() : ill.server.resume());
      await redis.whole();
      await reaches(a, b);
    },
  );
});

describe('on a cluster that knows no sharded pub/sub', () => {
  let redis: TestRedisCluster;

  beforeAll(async () => {
    // What a server from before Redis 7 answers.
    redis = await TestRedisCluster.start({ 'rename-command': 'SSUBSCRIBE unheard-of' });
  });
  afterAll(() => redis?.stop());

  test('there is one channel, by PUBLISH', async () => {
    const [a, b] = [await startNode(redis), await startNode(redis)];
    await reaches(a, b);
    expect([...a.notes.states, ...b.notes.states]).toEqual(['live', 'live']);
  });
});
