/** A node whose lines can be broken one by one: its ear, the commands of its Redis, and its subscription to the bus. */
import { Redis } from 'ioredis';
import type { LoRAStorageOptions } from '../../../src/options.js';
import type { LoRAStorage } from '../../../src/storage/lora-storage.js';
import type { FaultProxy } from '../../support/proxy.js';
import type { Bench } from '../../support/storage.js';
import { proxyTo } from './support.js';

export interface Lines {
  readonly ear: FaultProxy;
  readonly commands: FaultProxy;
  readonly bus: FaultProxy;
}

export interface FarNode {
  readonly node: LoRAStorage;
  readonly lines: Lines;
  close(): Promise<void>;
}

export async function linesTo(postgresUrl: string, redisUrl: string): Promise<Lines> {
  const [ear, commands, bus] = await Promise.all([proxyTo(postgresUrl), proxyTo(redisUrl), proxyTo(redisUrl)]);
  return { ear, commands, bus };
}

/** Its pool of Postgres goes straight to the server. `redis: false` in the options leaves the two lines of Redis unused. */
export async function openFar(
  bench: Bench,
  redisUrl: string,
  options: LoRAStorageOptions,
  given?: Lines,
): Promise<FarNode> {
  const lines = given ?? (await linesTo(bench.postgresUrl, redisUrl));
  const client = options.redis === false ? undefined : splitClient(redisUrl, lines);
  const node = await bench.open({
    postgres: { primary: bench.postgresUrl, direct: lines.ear.url(bench.postgresUrl) },
    // A Redis that is cut or mute costs each call that much, and no answer.
    redisTimeoutMs: 200,
    ...(client === undefined ? {} : { redis: client }),
    ...options,
  });
  return {
    node,
    lines,
    async close() {
      await node.close();
      client?.disconnect();
      await Promise.all([lines.ear.close(), lines.commands.close(), lines.bus.close()]);
    },
  };
}

/** What leads nowhere is given up, and tried again by whoever uses it. */
export function breakOff(line: FaultProxy): void {
  line.cut();
  line.heal();
}

/** A client as the package makes it, whose duplicate, the subscriber, takes another way. */
function splitClient(redisUrl: string, { commands, bus }: Lines): Redis {
  const client = new Redis(commands.url(redisUrl), {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    connectTimeout: 1000,
    socketTimeout: 1000,
    retryStrategy: () => 50,
  });
  client.on('error', () => undefined);
  const duplicate = client.duplicate.bind(client);
  client.duplicate = (options) => duplicate({ ...options, port: bus.port });
  return client;
}
