/**
 * What many keys hold, and a token where one holds nothing, in one round trip to the server that answers them. In a
 * cluster a pipeline is for one master; what has moved from there meanwhile is asked for by itself.
 */
import type { Cluster, Redis } from 'ioredis';
import { isRefusal } from './redis-calls.js';

export interface Held {
  /** null: nothing, or a key of another type. */
  readonly value: Buffer | null;
  /** 'OK' where a token stands now, null where something stood, the error where it was refused. */
  readonly claim: 'OK' | null | Error;
}

export interface Wanted {
  readonly name: string;
  readonly token: Buffer;
}

type Reply = readonly [error: Error | null, reply: unknown];

/** Answers of a node that another one has to be asked: a client of the cluster follows them, but not in a pipeline of several slots. */
const ELSEWHERE = /^(MOVED|ASK|TRYAGAIN|CLUSTERDOWN) /;

/** A key that holds no string is dropped like any other value that is no entry; the scripts see it as '?' too. */
export function wrongTypeIsGarbage(error: Error): Buffer {
  if (error.message.startsWith('WRONGTYPE')) return Buffer.from('?');
  throw error;
}

/** together: all of these are known to be one server's. result[i] answers wanted[i]. */
export async function readAndClaim(
  client: Redis | Cluster,
  wanted: readonly Wanted[],
  tokenMs: number,
  together: boolean,
): Promise<Held[]> {
  const eachAlone = () => Promise.all(wanted.map((one) => alone(client, one, tokenMs)));
  if (!together) return await eachAlone();
  const pipeline = client.pipeline();
  const names = wanted.map(({ name }) => name);
  const single = !('nodes' in client);
  // MGET is one command, and of one slot.
  if (single) pipeline.mgetBuffer(names);
  else for (const name of names) pipeline.getBuffer(name);
  for (const { name, token } of wanted) pipeline.set(name, token, 'PX', tokenMs, 'NX');
  let replies: readonly Reply[];
  try {
    replies = (await pipeline.exec()) ?? [];
  } catch (error) {
    // The slots were dealt anew while it waited for a connection: they are of several servers now.
    if (single) throw error;
    return await eachAlone();
  }
  const reads = single ? split(replies[0], wanted.length) : replies.slice(0, wanted.length);
  const claims = replies.slice(-wanted.length);
  return await Promise.all(
    wanted.map((one, i) => {
      const [read, claim] = [reads[i], claims[i]] as [Reply, Reply];
      if ([read, claim].some(([error]) => ELSEWHERE.test(error?.message ?? ''))) return alone(client, one, tokenMs);
      const value = read[0] === null ? (read[1] as Buffer | null) : wrongTypeIsGarbage(read[0]);
      return { value, claim: claim[0] === null ? (claim[1] as 'OK' | null) : refusal(claim[0]) };
    }),
  );
}

async function alone(client: Redis | Cluster, { name, token }: Wanted, tokenMs: number): Promise<Held> {
  const [value, claim] = await Promise.all([
    client.getBuffer(name).catch(wrongTypeIsGarbage),
    client.set(name, token, 'PX', tokenMs, 'NX').catch(refusal),
  ]);
  return { value, claim };
}

/** The reply of one MGET as those of so many GET. */
function split(reply: Reply | undefined, count: number): Reply[] {
  const [error, values] = reply ?? [new Error('Redis gave no answer'), undefined];
  return Array.from({ length: count }, (_, i) => [error, (values as (Buffer | null)[] | undefined)?.[i] ?? null]);
}

/** A claim that was refused takes nothing from what was read. */
function refusal(error: Error): Error {
  if (isRefusal(error)) return error;
  throw error;
}
