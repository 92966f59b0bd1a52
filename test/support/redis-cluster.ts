/**
 * A Redis Cluster of one's own on loopback: three masters with a replica each, small timeouts, and the steps of a live
 * reshard one by one, so that a test can stand between any two of them.
 */
import { Redis } from 'ioredis';
import { type OwnServer, startRedisProcess } from './redis.js';
import type { ServerSettings } from './servers/server.js';
import { allStarted, builtOn } from './servers/together.js';
import { waitFor } from './wait.js';

export interface ClusterNode {
  readonly id: string;
  readonly port: number;
  /** Of the bus between the nodes. */
  readonly busPort: number;
  readonly server: OwnServer;
  /** A client of this node alone, which follows no redirection. */
  readonly raw: Redis;
}

/** What `CLUSTER NODES` says of a node. */
interface Seen {
  readonly id: string;
  readonly flags: readonly string[];
  /** The id of its master. */
  readonly follows: string | undefined;
  readonly slots: readonly [first: number, last: number][];
}

const SLOTS = 16_384;
const MASTERS = 3;

const settings: ServerSettings = {
  'cluster-enabled': 'yes',
  'cluster-node-timeout': '1000',
  // Whoever replicates may take over, however long its master has been silent.
  'cluster-replica-validity-factor': '0',
  // What is left goes on serving what it has.
  'cluster-require-full-coverage': 'no',
  'cluster-allow-replica-migration': 'no',
  'repl-diskless-sync-delay': '0',
};

export class TestRedisCluster {
  readonly nodes: readonly ClusterNode[];

  private constructor(nodes: readonly ClusterNode[]) {
    this.nodes = nodes;
  }

  static async start(more: ServerSettings = {}): Promise<TestRedisCluster> {
    const servers = await allStarted(Array.from({ length: 2 * MASTERS }, () => startServer(more)));
    return await builtOn(servers, async () => {
      const cluster = new TestRedisCluster(await Promise.all(servers.map(nodeAt)));
      await cluster.#form();
      return cluster;
    });
  }

  /** What a client begins with. */
  get startup(): { host: string; port: number }[] {
    return this.nodes.map(({ port }) => ({ host: '127.0.0.1', port }));
  }

  /** The node that owns this slot, as most of them see it that answer. */
  async ownerOf(slot: number): Promise<ClusterNode> {
    const { id } =
      (await this.#seen()).find(
        ({ slots, flags }) => !flags.includes('fail') && slots.some(([from, to]) => from <= slot && slot <= to),
      ) ?? none(`nobody owns slot ${slot}`);
    return this.node(id);
  }

  async masters(): Promise<ClusterNode[]> {
    return (await this.#seen()).filter(({ slots }) => slots.length > 0).map(({ id }) => this.node(id));
  }

  /** A master that does not own this slot. */
  async strangerTo(slot: number): Promise<ClusterNode> {
    const owner = await this.ownerOf(slot);
    return (await this.masters()).find((node) => node !== owner) ?? none('there is one master');
  }

  async replicaOf(master: ClusterNode): Promise<ClusterNode> {
    const { id } = (await this.#seen()).find(({ follows }) => follows === master.id) ?? none('it has no replica');
    return this.node(id);
  }

  /** Waits until everybody who answers agrees that `node` owns this slot. */
  async owned(slot: number, node: ClusterNode): Promise<void> {
    await waitFor(
      async () => {
        const views = await Promise.all((await this.#answering()).map(viewOf));
        return views.every((view) =>
          view.some(({ id, slots }) => id === node.id && slots.some(([from, to]) => from <= slot && slot <= to)),
        );
      },
      { timeoutMs: 30_000, intervalMs: 50, what: `slot ${slot} at ${node.port}` },
    );
  }

  /** Waits until nothing is missing: every slot served, every replica in step with its master. */
  async whole(): Promise<void> {
    await waitFor(
      async () => {
        for (const { raw } of this.nodes) {
          const info = await raw.cluster('INFO');
          if (!/cluster_state:ok/.test(info) || !/cluster_known_nodes:6\b/.test(info)) return false;
          const view = await viewOf({ raw });
          if (view.some(({ flags }) => flags.some((flag) => /fail|handshake|noaddr/.test(flag)))) return false;
          if (view.filter(({ follows }) => follows !== undefined).length !== MASTERS) return false;
          const replication = await raw.info('replication');
          if (/role:slave/.test(replication) && !/master_link_status:up/.test(replication)) return false;
        }
        return true;
      },
      { timeoutMs: 60_000, intervalMs: 50, what: 'a whole cluster' },
    );
  }

  // ── a live reshard, step by step ──

  /** From now on the owner answers ASK for keys of this slot that it does not hold. */
  async beginMove(slot: number, to: ClusterNode): Promise<ClusterNode> {
    const from = await this.ownerOf(slot);
    await to.raw.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', from.id);
    await from.raw.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', to.id);
    return from;
  }

  /** Moves the keys that are there now. */
  async moveKeys(slot: number, from: ClusterNode, to: ClusterNode): Promise<string[]> {
    const keys = (await from.raw.call('CLUSTER', 'GETKEYSINSLOT', slot, 100_000)) as string[];
    for (const key of keys) await from.raw.migrate('127.0.0.1', to.port, key, 0, 10_000);
    return keys;
  }

  /** From now on the old owner answers MOVED. */
  async endMove(slot: number, to: ClusterNode): Promise<void> {
    await to.raw.call('CLUSTER', 'SETSLOT', slot, 'NODE', to.id);
    for (const { raw } of await this.masters()) await raw.call('CLUSTER', 'SETSLOT', slot, 'NODE', to.id);
    await this.owned(slot, to);
  }

  /** How often nodes have answered so: 'MOVED', 'ASK'. */
  async refusals(code: string): Promise<number> {
    const counts = await Promise.all(
      (await this.#answering()).map(async ({ raw }) =>
        Number(new RegExp(`errorstat_${code}:count=(\\d+)`).exec(await raw.info('errorstats'))?.[1] ?? 0),
      ),
    );
    return counts.reduce((sum, count) => sum + count, 0);
  }

  // ── the loss of a master ──

  /** Waits until the replica has been promoted by the others. */
  async promoted(replica: ClusterNode): Promise<void> {
    await waitFor(async () => /role:master/.test(await replica.raw.info('replication')), {
      timeoutMs: 30_000,
      intervalMs: 50,
      what: `the promotion of ${replica.port}`,
    });
    await waitFor(async () => /cluster_state:ok/.test(await replica.raw.cluster('INFO')), { timeoutMs: 30_000 });
  }

  node(id: string): ClusterNode {
    return this.nodes.find((node) => node.id === id) ?? none(`no node ${id}`);
  }

  async stop(): Promise<void> {
    for (const { raw } of this.nodes) raw.disconnect();
    await Promise.all(this.nodes.map(({ server }) => server.stop()));
  }

  async #form(): Promise<void> {
    const [first, ...others] = this.nodes as [ClusterNode, ...ClusterNode[]];
    for (const [i, { raw }] of this.nodes.entries()) {
      // Every node begins with the same epoch, and two masters of one epoch would have to settle which is older.
      await raw.call('CLUSTER', 'SET-CONFIG-EPOCH', i + 1);
      if (i >= MASTERS) continue;
      const [from, beyond] = [i, i + 1].map((n) => Math.ceil((n * SLOTS) / MASTERS)) as [number, number];
      await raw.call('CLUSTER', 'ADDSLOTSRANGE', from, beyond - 1);
    }
    for (const { port, busPort } of others) await first.raw.call('CLUSTER', 'MEET', '127.0.0.1', port, busPort);
    for (const [i, { raw }] of this.nodes.entries()) {
      if (i < MASTERS) continue;
      const master = this.nodes[i - MASTERS] as ClusterNode;
      await waitFor(async () => (await viewOf({ raw })).some(({ id }) => id === master.id), { timeoutMs: 30_000 });
      await raw.call('CLUSTER', 'REPLICATE', master.id);
    }
    await this.whole();
  }

  /** The picture of the node that knows best: the one whose epoch is highest. */
  async #seen(): Promise<Seen[]> {
    const answering = await this.#answering();
    const epochs = await Promise.all(
      answering.map(async ({ raw }) => Number(/cluster_current_epoch:(\d+)/.exec(await raw.cluster('INFO'))?.[1])),
    );
    const best = answering[epochs.indexOf(Math.max(...epochs))] ?? none('no node answers');
    return await viewOf(best);
  }

  async #answering(): Promise<ClusterNode[]> {
    const answers = await Promise.all(
      this.nodes.map(({ raw }) =>
        raw.ping().then(
          () => true,
          () => false,
        ),
      ),
    );
    return this.nodes.filter((_, i) => answers[i]);
  }
}

/** By default the bus is at the port plus 10000, where the kernel takes ports from for outgoing connections. */
function startServer(more: ServerSettings): Promise<OwnServer> {
  return startRedisProcess({ ...settings, ...more }, 'cluster-port');
}

async function nodeAt(server: OwnServer): Promise<ClusterNode> {
  const raw = new Redis(server.url, {
    maxRetriesPerRequest: 0,
    retryStrategy: () => 50,
    // One that is paused answers nothing.
    commandTimeout: 2000,
  });
  raw.on('error', () => undefined);
  const [, busPort] = (await raw.config('GET', 'cluster-port')) as string[];
  return { id: String(await raw.call('CLUSTER', 'MYID')), port: server.port, busPort: Number(busPort), server, raw };
}

/** `CLUSTER NODES`, as this node sees it. */
async function viewOf({ raw }: Pick<ClusterNode, 'raw'>): Promise<Seen[]> {
  const lines = String(await raw.call('CLUSTER', 'NODES'))
    .trim()
    .split('\n');
  return lines.map((line) => {
    const [id = '', , flags = '', master, , , , , ...slots] = line.split(' ');
    return {
      id,
      flags: flags.split(','),
      follows: master === '-' ? undefined : master,
      // What is on its way stands in brackets.
      slots: slots
        .filter((range) => !range.startsWith('['))
        .map((range) => range.split('-').map(Number))
        .map(([from = 0, to = from]) => [from, to] as const),
    };
  });
}

function none(what: string): never {
  throw new Error(what);
}
