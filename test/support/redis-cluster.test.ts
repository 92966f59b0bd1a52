/** The cluster that tests have of their own: a slot is moved step by step, and a master that is paused is replaced. */
import { Cluster } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TestRedisCluster } from './redis-cluster.js';

/** Of the key 'a'. */
const SLOT = 15_495;

let redis: TestRedisCluster;
let client: Cluster;

beforeAll(async () => {
  redis = await TestRedisCluster.start();
  client = new Cluster(redis.startup);
  client.on('error', () => undefined);
});
afterAll(async () => {
  client?.disconnect();
  await redis?.stop();
});

test('a slot on its way is met as ASK, and as MOVED when it has arrived', async () => {
  await client.set('a', '1');
  const to = await redis.strangerTo(SLOT);
  const from = await redis.beginMove(SLOT, to);
  expect(await client.get('a')).toBe('1');
  expect([await redis.refusals('ASK'), await redis.refusals('MOVED')]).toEqual([0, 0]);
  expect(await redis.moveKeys(SLOT, from, to)).toEqual(['a']);
  expect(await client.get('a')).toBe('1');
  expect([await redis.refusals('ASK'), await redis.refusals('MOVED')]).toEqual([1, 0]);
  await redis.endMove(SLOT, to);
  expect(await client.get('a')).toBe('1');
  expect([await redis.refusals('ASK'), await redis.refusals('MOVED')]).toEqual([1, 1]);
  await redis.beginMove(SLOT, from);
  await redis.moveKeys(SLOT, to, from);
  await redis.endMove(SLOT, from);
});

test('the replica of a paused master is promoted, and the two change places', async () => {
  const master = await redis.ownerOf(SLOT);
  const replica = await redis.replicaOf(master);
  await master.server.pause();
  await redis.promoted(replica);
  expect(await redis.ownerOf(SLOT)).toBe(replica);
  await master.server.resume();
  await redis.whole();
  expect(await redis.replicaOf(replica)).toBe(master);
});
