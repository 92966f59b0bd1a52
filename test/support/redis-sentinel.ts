/**
 * A Redis that three sentinels watch, on loopback: a master and a replica, with small timeouts. The first sentinel notices
 * that the master is gone, and the others vote for it: were several to notice at once, each would vote for itself, and such
 * elections were seen to fail for twenty seconds.
 */
import { Redis } from 'ioredis';
import { localRedisRecipe, type OwnServer, startRedisProcess } from './redis.js';
import { startLocalSentinel } from './servers/local-redis.js';
import { allStarted, builtOn } from './servers/together.js';
import { waitFor } from './wait.js';

const NAME = 'lora';

/** How often sentinels look and tell: their own seconds are for networks. A server older than 7.0 keeps to its own. */
const PERIODS_MS = { 'info-period': 500, 'ping-period': 100, 'ask-period': 100, 'publish-period': 200 };

export class TestSentinels {
  /** The two servers, whichever is the master. */
  readonly servers: readonly OwnServer[];
  readonly sentinels: readonly OwnServer[];
  readonly #raws: readonly Redis[];

  private constructor(servers: readonly OwnServer[], sentinels: readonly OwnServer[]) {
    this.servers = servers;
    this.sentinels = sentinels;
    this.#raws = sentinels.map(({ url }) => clientOf(url));
  }

  static async start(): Promise<TestSentinels> {
    const servers = await allStarted([1, 2].map(() => startRedisProcess({ 'repl-diskless-sync-delay': '0' })));
    return await builtOn(servers, async () => {
      await follows(servers as [OwnServer, OwnServer]);
      const recipe = await localRedisRecipe();
      const sentinels = await allStarted([1, 2, 3].map(() => startLocalSentinel(recipe)));
      return await builtOn(sentinels, async () => {
        const all = new TestSentinels(servers, sentinels);
        await all.#hurry();
        await all.#watch(servers[0] as OwnServer);
        return all;
      });
    });
  }

  /** What a client is given. */
  get options(): { sentinels: { host: string; port: number }[]; name: string } {
    return { sentinels: this.sentinels.map(({ port }) => ({ host: '127.0.0.1', port })), name: NAME };
  }

  /** The server that the sentinels that answer agree on. */
  async master(): Promise<OwnServer> {
    return await waitFor(async () => {
      const ports = await this.#ask((raw) => raw.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', NAME));
      const [port] = ports.map((address) => Number((address as string[])[1]));
      return ports.every((address) => Number((address as string[])[1]) === port) && this.#serverAt(port);
    });
  }

  other(server: OwnServer): OwnServer {
    return this.servers.find((one) => one !== server) as OwnServer;
  }

  /** Waits until this server is the master for every sentinel, and says so itself. */
  async promoted(server: OwnServer): Promise<void> {
    await waitFor(async () => (await this.master()) === server, { timeoutMs: 40_000, what: 'a failover' });
    const raw = clientOf(server.url);
    await waitFor(async () => /role:master/.test(await raw.info('replication')));
    raw.disconnect();
  }

  /** Waits until every sentinel knows the others, and a replica that is in step. */
  async whole(): Promise<void> {
    await waitFor(
      async () => {
        const states = await this.#ask(async (raw) => {
          const master = fieldsOf(await raw.call('SENTINEL', 'MASTER', NAME));
          const replicas = (await raw.call('SENTINEL', 'REPLICAS', NAME)) as unknown[];
          const [replica] = replicas.map(fieldsOf);
          return (
            master.flags === 'master' &&
            master['num-other-sentinels'] === '2' &&
            replica?.flags === 'slave' &&
            replica['master-link-status'] === 'ok'
          );
        });
        return states.length === this.sentinels.length && states.every(Boolean);
      },
      { timeoutMs: 60_000, intervalMs: 50, what: 'a master, a replica and three sentinels' },
    );
  }

  /**
   * The two change places while no sentinel looks, and the sentinels are told: whoever is connected to the old master stays
   * so, where a failover of theirs would have ended each connection.
   */
  async swapUnnoticed(master: OwnServer, replica: OwnServer): Promise<void> {
    for (const raw of this.#raws) await raw.call('SENTINEL', 'REMOVE', NAME);
    const [old, next] = [clientOf(master.url), clientOf(replica.url)];
    await next.replicaof('NO', 'ONE');
    await old.replicaof('127.0.0.1', replica.port);
    await waitFor(async () => /master_link_status:up/.test(await old.info('replication')));
    for (const raw of [old, next]) raw.disconnect();
    await this.#watch(replica);
  }

  async stop(): Promise<void> {
    for (const raw of this.#raws) raw.disconnect();
    await Promise.all([...this.sentinels, ...this.servers].map((server) => server.stop()));
  }

  async #hurry(): Promise<void> {
    const periods = Object.entries(PERIODS_MS).flat();
    for (const raw of this.#raws) await raw.call('SENTINEL', 'DEBUG', ...periods).catch(() => undefined);
  }

  async #watch(master: OwnServer): Promise<void> {
    for (const [i, raw] of this.#raws.entries()) {
      await raw.call('SENTINEL', 'MONITOR', NAME, '127.0.0.1', master.port, 1);
      const timeouts = { 'down-after-milliseconds': i === 0 ? 500 : 600_000, 'failover-timeout': 2000 };
      for (const [name, ms] of Object.entries(timeouts)) await raw.call('SENTINEL', 'SET', NAME, name, ms);
    }
    await this.whole();
  }

  #serverAt(port: number | undefined): OwnServer | undefined {
    return this.servers.find((server) => server.port === port);
  }

  /** Of those that answer. */
  async #ask<T>(question: (raw: Redis) => Promise<T>): Promise<T[]> {
    const answers = await Promise.allSettled(this.#raws.map(question));
    return answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []));
  }
}

/** The second becomes a replica of the first, in step with it. */
async function follows([master, replica]: [OwnServer, OwnServer]): Promise<void> {
  const raw = clientOf(replica.url);
  await raw.replicaof('127.0.0.1', master.port);
  await waitFor(async () => /master_link_status:up/.test(await raw.info('replication')));
  raw.disconnect();
}

function clientOf(url: string): Redis {
  const client = new Redis(url, { maxRetriesPerRequest: 0, retryStrategy: () => 50, commandTimeout: 2000 });
  client.on('error', () => undefined);
  return client;
}

/** A reply of names and values in turn. */
function fieldsOf(reply: unknown): Record<string, string> {
  const flat = reply as string[];
  return Object.fromEntries(flat.flatMap((name, i) => (i % 2 === 0 ? [[name, flat[i + 1] ?? '']] : [])));
}
