/** Redis: its version, what it does when it is full, and whether this user may do what a node does. */
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import type { RedisOptions } from 'ioredis';
import { FORMAT } from '../../tiers/redis.js';
import { fillToken } from '../../tiers/redis-entry.js';
import type { Cache } from '../audit-redis.js';
import { failure, ok, type Verdict, warning } from './finding.js';
import { answer, cluster, EVICT, ofRedis, refusal } from './redis-answers.js';

export const redisServer = ofRedis(async (opened) => {
  const info = await answer(opened.client.info('server'));
  const { means, mend } = cluster(opened);
  if (fieldOf(info, 'redis_mode') === 'cluster' && !('nodes' in opened.client)) return failure(`${means}`, mend);
  return judgeRedisVersion(fieldOf(info, 'redis_version'));
});

export function judgeRedisVersion(version: string): Verdict {
  if (Number.parseInt(version, 10) >= 6) return ok(version);
  return warning(
    `${version || 'of unknown version'}: tested with 7, and nothing before 6`,
    'apt-get install --only-upgrade redis-server',
  );
}

/** The client connects all the same where its database cannot be selected, and reads and writes another one. */
export const redisDatabase = ofRedis(async (opened) => {
  const { client } = opened;
  const { db = 0 } = client.options as RedisOptions;
  if ('nodes' in client || db === 0) return ok('0, which needs no SELECT');
  return await answer(client.select(db)).then(
    () => ok(`${db}`),
    (error: Error) => refusal(`database ${db} cannot be selected`, error, opened),
  );
});

/** A cache that refuses what is new when it is full keeps what is old, and every miss costs two answers. */
export const redisMemory = ofRedis(async ({ client }) => {
  const info = await answer(client.info());
  const [policy, limit, used] = ['maxmemory_policy', 'maxmemory', 'used_memory'].map((name) => fieldOf(info, name));
  const found = `${policy} at ${limit === '0' ? 'no limit' : `${limit} bytes`}, ${used} used, ${fieldOf(info, 'evicted_keys')} evicted`;
  if (policy !== 'noeviction') return ok(found);
  const when = limit === '0' ? 'it grows until the machine is full' : 'it refuses every write once it is full';
  return warning(`${found}: ${when}`, EVICT);
});

/** Every command of docs/redis.acl on a key such as nodes have, and none that is not there. */
export const redisCommands = ofRedis(async (opened) => {
  const refused: string[] = [];
  let first: Error | undefined;
  for (const [command, ask] of commandsOfNodes(opened)) {
    await answer(ask()).catch((error: Error) => {
      // The script is not there since EVAL was refused: that is told of already.
      if (error.message.startsWith('NOSCRIPT')) return;
      refused.push(command);
      first ??= error;
    });
  }
  if (first === undefined) return ok('all that a node needs are granted');
  return refusal(`refused: ${refused.join(', ')}`, first, opened);
});

function commandsOfNodes({ client, namespace }: Cache): [command: string, ask: () => Promise<unknown>][] {
  const key = `${namespace}:${FORMAT}:{${randomUUID()}}:doctor`;
  // Whoever comes across it takes it for that of a load.
  const token = fillToken(randomBytes(16));
  const script = "return redis.call('GETRANGE', KEYS[1], 0, 47)";
  return [
    ['ping', () => client.ping()],
    ['info', () => client.info('server')],
    ['client|setname', () => client.client('SETNAME', 'lora-store')],
    ['set', () => client.set(key, token, 'PX', 5000, 'NX')],
    ['get', () => client.get(key)],
    ['mget', () => client.mget(key)],
    ['getrange', () => client.getrange(key, 0, 47)],
    ['setrange', () => client.setrange(key, 0, token as unknown as string)],
    ['eval', () => client.eval(script, 1, key)],
    ['evalsha', () => client.evalsha(createHash('sha1').update(script).digest('hex'), 1, key)],
    ['scan', async () => ('scan' in client ? await client.scan('0') : undefined)],
    ['del', () => client.del(key)],
    ['unlink', () => client.unlink(key)],
    // No word that a node would listen to.
    ['publish', () => client.publish(`${namespace}:${FORMAT}:heads`, '')],
  ];
}

/** A message to oneself, as nodes send it: over a connection that listens and one that speaks, beside that of saves. */
export const redisBus = ofRedis(async (opened) => {
  const { client, namespace } = opened;
  const prefix = `${namespace}:${FORMAT}:`;
  const [heads, echo] = [`${prefix}heads`, `${prefix}echo:${randomUUID()}`];
  const ear = 'nodes' in client ? client.duplicate() : client.duplicate({ enableOfflineQueue: true });
  ear.on('error', () => undefined);
  try {
    const heard = new Promise<void>((resolve) => ear.on('message', (on) => void (on === echo && resolve())));
    await answer(ear.subscribe(heads, echo), 'SUBSCRIBE');
    const begun = performance.now();
    for (const channel of [heads, echo]) await answer(client.publish(channel, ''), 'PUBLISH');
    await answer(heard, 'the message to itself');
    return ok(`a message came back in ${(performance.now() - begun).toFixed(1)} ms`);
  } catch (error) {
    return refusal("nodes do not hear of each other's saves through Redis", error as Error, opened);
  } finally {
    ear.disconnect();
  }
});

/** A line of INFO. */
function fieldOf(info: string, name: string): string {
  return new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1] ?? '';
}
