/** Redis: its version, what it does when it is full, and whether this user may do what a node does. */
import { randomUUID } from 'node:crypto';
import { within } from '../../deadline.js';
import { FORMAT } from '../../tiers/redis.js';
import type { Cache } from '../audit-redis.js';
import { failure, ok, type Patient, type Verdict, warning } from './finding.js';

const ANSWER_MS = 3000;

const OFF = 'there is none: two tiers';

export async function redisServer({ cache }: Patient): Promise<Verdict> {
  if (cache === undefined) return ok(OFF);
  const { client } = await cache();
  return judgeRedisVersion(fieldOf(await client.info('server'), 'redis_version'));
}

export function judgeRedisVersion(version: string): Verdict {
  if (Number.parseInt(version, 10) >= 6) return ok(version);
  return warning(
    `${version || 'of unknown version'}: tested with 7, and nothing before 6`,
    'apt-get install --only-upgrade redis-server',
  );
}

/** A cache that refuses what is new when it is full keeps what is old, and every miss costs two answers. */
export async function redisMemory({ cache }: Patient): Promise<Verdict> {
  if (cache === undefined) return ok(OFF);
  const info = await (await cache()).client.info();
  const [policy, limit, used] = ['maxmemory_policy', 'maxmemory', 'used_memory'].map((name) => fieldOf(info, name));
  const found = `${policy} at ${limit === '0' ? 'no limit' : `${limit} bytes`}, ${used} used, ${fieldOf(info, 'evicted_keys')} evicted`;
  if (policy !== 'noeviction') return ok(found);
  const when = limit === '0' ? 'it grows until the machine is full' : 'it refuses every write once it is full';
  return warning(`${found}: ${when}`, 'redis-cli -u "$REDIS_URL" config set maxmemory-policy allkeys-lru');
}

export async function redisCommands({ cache }: Patient): Promise<Verdict> {
  if (cache === undefined) return ok(OFF);
  const opened = await cache();
  const { client, namespace } = opened;
  const key = `${namespace}:${FORMAT}:doctor:${randomUUID()}`;
  const asked: [command: string, ask: () => Promise<unknown>][] = [
    ['set', () => client.set(key, 'x', 'PX', 5000, 'NX')],
    ['get', () => client.get(key)],
    ['mget', () => client.mget(key)],
    ['eval', () => client.eval("return redis.call('get', KEYS[1])", 1, key)],
    ['scan', async () => ('scan' in client ? await client.scan('0') : undefined)],
    ['unlink', () => client.unlink(key)],
    ['publish', () => client.publish(`${namespace}:${FORMAT}:doctor`, '')],
  ];
  const refused: string[] = [];
  let reason = '';
  for (const [command, ask] of asked) {
    await within(ask(), ANSWER_MS, 'Redis').catch((error: Error) => {
      refused.push(command);
      reason ||= error.message;
    });
  }
  if (refused.length === 0) return ok(`all that a node needs are granted`);
  return failure(`refused: ${refused.join(', ')} (${reason})`, await grants(opened));
}

/** A message to oneself, over a connection that listens and one that speaks, as a node has them. */
export async function redisBus({ cache }: Patient): Promise<Verdict> {
  if (cache === undefined) return ok(OFF);
  const opened = await cache();
  const { client, namespace } = opened;
  const channel = `${namespace}:${FORMAT}:doctor:${randomUUID()}`;
  const ear = 'nodes' in client ? client.duplicate() : client.duplicate({ enableOfflineQueue: true });
  ear.on('error', () => undefined);
  try {
    const heard = new Promise((resolve) => ear.once('message', resolve));
    await within(ear.subscribe(channel), ANSWER_MS, 'SUBSCRIBE');
    const begun = performance.now();
    await within(client.publish(channel, ''), ANSWER_MS, 'PUBLISH');
    await within(heard, ANSWER_MS, 'the message to itself');
    return ok(`a message came back in ${(performance.now() - begun).toFixed(1)} ms`);
  } catch (error) {
    return failure(
      `nodes do not hear of each other's saves through Redis: ${(error as Error).message}`,
      await grants(opened),
    );
  } finally {
    ear.disconnect();
  }
}

async function grants({ client, namespace }: Cache): Promise<string> {
  const user = 'options' in client && 'username' in client.options ? client.options.username : undefined;
  const rights =
    '+ping +info +get +mget +set +strlen +scan +unlink +eval +evalsha +time +publish +subscribe +unsubscribe';
  return `redis-cli acl setuser ${user ?? 'default'} ~${namespace}:* resetchannels '&${namespace}:*' ${rights}`;
}

/** A line of INFO. */
function fieldOf(info: string, name: string): string {
  return new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1] ?? '';
}
