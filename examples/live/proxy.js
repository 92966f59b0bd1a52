// @ts-check
/**
 * What stands between the nodes and Redis, so that the page can cut it, wherever that Redis runs and whoever else uses it.
 * TLS ends here: to the nodes it is a plain Redis on loopback.
 * @import { AddressInfo, Socket } from 'node:net'
 */
import { once } from 'node:events';
import { connect, createServer, isIP } from 'node:net';
import { connect as connectTls } from 'node:tls';

/** @typedef {Awaited<ReturnType<typeof startProxy>>} Proxy */

/** @param {string} target redis:// or rediss:// with a host, as getRedis finds it. */
export async function startProxy(target) {
  const to = new URL(target);
  const secure = to.protocol === 'rediss:';
  const host = to.hostname.replace(/^\[|\]$/g, '');
  const place = { host, port: Number(to.port || 6379) };
  // An address is no server name (RFC 6066); the certificate is held against it all the same.
  const names = isIP(host) ? {} : { servername: host };

  /** @type {Set<Socket>} */
  const clients = new Set();
  let cut = false;
  const server = createServer((client) => {
    if (cut) return void client.resetAndDestroy();
    const upstream = secure ? connectTls({ ...place, ...names }) : connect(place);
    clients.add(client);
    client.setNoDelay(true).pipe(upstream.setNoDelay(true)).pipe(client);
    client.on('error', () => undefined).on('close', () => upstream.destroy() && clients.delete(client));
    upstream.on('error', () => undefined).on('close', () => client.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  const url = new URL(target);
  url.protocol = 'redis:';
  url.host = `127.0.0.1:${/** @type {AddressInfo} */ (server.address()).port}`;
  const reset = () => {
    for (const client of clients) client.resetAndDestroy();
  };
  return {
    url: url.toString(),
    get isCut() {
      return cut;
    },
    /** Resets every connection, and every new one until it heals. */
    cut() {
      cut = true;
      reset();
    },
    heal() {
      cut = false;
    },
    async close() {
      reset();
      server.close();
      await once(server, 'close');
    },
  };
}
