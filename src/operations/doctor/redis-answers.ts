/** What it means that Redis refuses, or does not answer, and what mends that. */
import { Redis, type RedisOptions } from 'ioredis';
import { within } from '../../deadline.js';
import { isRedisClient, type LoRAStorageOptions, parseOptions } from '../../options.js';
import { CONNECT_MS } from '../../tiers/redis-client.js';
import type { Cache } from '../audit-redis.js';
import { type Check, failure, NOT_CHECKED, ok, type Verdict } from './finding.js';
import { grantAll } from './redis-acl.js';

/** Of one question. */
const ANSWER_MS = 3000;

/** Begins a command line that asks the same server. */
export const CLI = 'redis-cli -u "$REDIS_URL"';

/** So that what is full makes room. */
export const EVICT = `${CLI} config set maxmemory-policy allkeys-lru`;

interface Meaning {
  /** Undefined: the words of Redis say it all. */
  readonly means?: string;
  readonly mend: string;
}

/** opened: undefined where there is no connection. */
type Reading = readonly [words: RegExp, meaning: (opened: Cache | undefined) => Meaning];

const login = (opened: Cache | undefined): Meaning => ({
  means: 'user or password are not those that it wants',
  mend: `export REDIS_URL=redis://USER:PASSWORD@${Object.values(placeOf(opened)).join(':')} # special characters as %XX`,
});

const READINGS: readonly Reading[] = [
  [/\bNOPERM\b/, (opened) => (opened === undefined ? login(opened) : { mend: grantAll(opened) })],
  [/\b(NOAUTH|WRONGPASS)\b/, login],
  [/\bOOM\b/, () => ({ means: 'it is full, and refuses what is new', mend: EVICT })],
  [
    /\bREADONLY\b/,
    () => ({
      means: 'it is a replica, which takes no writes',
      mend: `${CLI} info replication # name its master_host and master_port in REDIS_URL`,
    }),
  ],
  [
    /DB index is out of range|SELECT is not allowed/,
    () => ({
      means: 'there is no such database',
      mend: `${CLI} config get databases # the number that REDIS_URL ends in has to be below`,
    }),
  ],
  [/\b(MOVED|ASK) \d+/, (opened) => cluster(opened)],
  [
    /\bCLUSTERDOWN\b/,
    () => ({ means: 'its cluster has slots that nobody serves', mend: `${CLI} cluster info # and cluster nodes` }),
  ],
  [
    /\bMISCONF\b/,
    () => ({
      means: 'it cannot write its snapshot, and takes no writes until it can',
      mend: `${CLI} config set save '' # a cache needs no snapshot; or make room on its disk`,
    }),
  ],
  [/\bLOADING\b/, () => ({ means: 'it reads its files, and comes up by itself', mend: `${CLI} info persistence` })],
  [
    /Stream isn't writeable|did not answer within|timed out/,
    () => ({ means: 'it is busy, stopped, or behind a network that swallows', mend: `${CLI} --latency` }),
  ],
];

const AWAY: Meaning = { mend: `${CLI} ping # is it running, and are host, port and password of REDIS_URL right?` };

/** For a client of one server where there is a cluster. */
export function cluster(opened: Cache | undefined): Meaning {
  const { host, port } = placeOf(opened);
  return {
    means: 'it is a node of a cluster, and a URL reaches what this one node holds',
    mend: `LoRAStorage.open({ redis: new Cluster([{ host: '${host}', port: ${port} }]) }) // of ioredis`,
  };
}

function placeOf(opened: Cache | undefined) {
  const { host = 'HOST', port = 'PORT' } = (opened?.client.options ?? {}) as RedisOptions;
  return { host, port };
}

/** found: what cannot be done, before the words of Redis. */
export function refusal(found: string, error: Error, opened?: Cache): Verdict {
  const { means, mend } = READINGS.find(([words]) => words.test(error.message))?.[1](opened) ?? AWAY;
  return failure(`${found}: ${inWords(error)}${means === undefined ? '' : `: ${means}`}`, mend);
}

/** What the client says to whoever used it too early is no news of the server. */
function inWords({ message }: Error): string {
  return message.replace(/Stream isn't writeable.*$/, `it is connected, and did not answer within ${CONNECT_MS} ms`);
}

/** A check of Redis, which is well where there is none, and fails with what to look at where it does not answer. */
export function ofRedis(look: (opened: Cache) => Promise<Verdict>): Check {
  return async ({ cache, options }) => {
    if (cache === undefined) return ok('there is none: two tiers');
    let opened: Cache | undefined;
    try {
      opened = await cache();
      return await look(opened);
    } catch (error) {
      return refusal(NOT_CHECKED, error as Error, opened ?? unconnected(options));
    }
  };
}

/** Whom it would have been as, and where. */
function unconnected(options: LoRAStorageOptions): Cache | undefined {
  const { redis: source, namespace } = parseOptions(options);
  if (source === undefined) return undefined;
  if (isRedisClient(source)) return { client: source, namespace };
  const lazy = { lazyConnect: true, replyMapping: 'legacy' } as const;
  return {
    client: typeof source === 'string' ? new Redis(source, lazy) : new Redis({ ...source, ...lazy }),
    namespace,
  };
}

export async function answer<T>(reply: Promise<T>, what = 'Redis'): Promise<T> {
  return await within(reply, ANSWER_MS, what);
}
