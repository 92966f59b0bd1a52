/** What a node pays to hear of one save elsewhere: through LISTEN, and through the bus; each as fast as it can take it. */
import { Redis } from 'ioredis';
import type { LoRAStorageOptions } from 'lora-store';
import { startChild } from '../../test/support/processes.js';
import { userAt, withClient } from '../harness/population.js';
import type { Constants } from './constants.js';
import { PATIENCE } from './loads.js';
import type { Population } from './population.js';

const A_COMMIT = 100;
const CHANNEL = 'lora_store_heads';
const NAMESPACE = 'ears';
/** Behind all that there is. */
const LATER = 1_000_000_000;

interface Word {
  readonly userId: string;
  readonly revision: number;
}

export async function measureEars(of: Population, redis: string, messages: number): Promise<Partial<Constants>> {
  const feed = await hearing({ postgres: of.url, redis: false }, messages, (words) => notify(of.url, words));
  const bus = await hearing({ postgres: of.url, redis, namespace: NAMESPACE, changeFeed: false }, messages, (words) =>
    publish(redis, words),
  );
  return { earPerSecond: feed.perSecond, earUs: feed.us, busPerSecond: bus.perSecond, busUs: bus.us };
}

/** Word of so many users, and at last of one whom the node holds: then it has heard all. */
async function hearing(
  options: LoRAStorageOptions,
  messages: number,
  tell: (words: readonly Word[]) => Promise<void>,
): Promise<{ perSecond: number; us: number }> {
  const child = await startChild(new URL('ear.js', import.meta.url));
  try {
    await child.call('open', { ...options, postgresTimeoutMs: PATIENCE.postgresTimeoutMs });
    await child.call('awaitWordOf', userAt(0));
    const revision = Date.now() * 1000 + LATER;
    const words = Array.from({ length: messages }, (_, i) => ({ userId: userAt(messages - 1 - i), revision }));
    const [before, began] = [await child.call<number>('cpu'), performance.now()];
    await tell(words);
    const after = await child.call<number>('word');
    const seconds = (performance.now() - began) / 1000;
    await child.call('close');
    return { perSecond: messages / seconds, us: (after - before) / messages };
  } finally {
    await child.kill();
  }
}

/** As the trigger tells it, a hundred to a commit. */
async function notify(url: string, words: readonly Word[]): Promise<void> {
  await withClient(url, async (client) => {
    await client.query('set synchronous_commit = off');
    for (let from = 0; from < words.length; from += A_COMMIT) {
      const texts = words
        .slice(from, from + A_COMMIT)
        .map(({ userId, revision }) => `{"u":"${userId}","n":"default","r":${revision},"v":2}`);
      await client.query('select pg_notify($1, text) from unnest($2::text[]) text', [CHANNEL, texts]);
    }
  });
}

/** As another node tells it. */
async function publish(url: string, words: readonly Word[]): Promise<void> {
  const redis = new Redis(url);
  try {
    const channels = (await redis.pubsub('CHANNELS', `${NAMESPACE}:*heads`)) as string[];
    const [channel] = channels;
    if (channel === undefined || channels.length > 1) throw new Error(`the node listens to ${channels.join(', ')}`);
    const origin = 'a node of its own';
    for (let from = 0; from < words.length; from += A_COMMIT) {
      const pipeline = redis.pipeline();
      for (const { userId, revision } of words.slice(from, from + A_COMMIT))
        pipeline.publish(
          channel,
          JSON.stringify({ userId, adapterName: 'default', revision, version: 2, origin, settled: true }),
        );
      await pipeline.exec();
    }
  } finally {
    redis.disconnect();
  }
}
