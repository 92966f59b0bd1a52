/** The end of a server: what a client has asked for it gets, also when it is slow. */
import { once } from 'node:events';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { waitFor } from '../../support/wait.js';
import { buildServer, useServers } from './support.js';

const { openStorage } = useServers();

/** More than the buffers of both ends take. */
const LARGE = Buffer.alloc(32 * 2 ** 20);

test('an answer that is written, and that its client has not fetched yet, survives the end of the server', async () => {
  const app = buildServer({ storage: await openStorage(), logLevel: 'silent', training: { drainMs: 60_000 } });
  let serving: Socket | undefined;
  app.get('/large', (request, reply) => {
    serving = request.raw.socket;
    return reply.type('application/octet-stream').send(LARGE);
  });
  await app.listen({ port: 0 });
  const { port } = app.server.address() as AddressInfo;
  const open = () => connect(port, '127.0.0.1').on('error', () => undefined);
  // 1. A connection whose answer is here, and which is kept alive.
  const idle = open();
  idle.write('GET /healthz HTTP/1.1\r\nhost: here\r\n\r\n');
  await once(idle.resume(), 'data');
  // 2. One that asks, and reads nothing.
  const client = open();
  client.write('GET /large HTTP/1.1\r\nhost: here\r\n\r\n');
  await waitFor(() => (serving?.writableLength ?? 0) >= LARGE.length);
  // 3. The server is to end.
  const closed = app.close();
  await waitFor(() => !app.server.listening);
  // 4. The client reads.
  let received = 0;
  client.on('data', ({ length }) => (received += length));
  await once(client, 'close');
  expect(received).toBeGreaterThan(LARGE.length);
  // 5. Nobody is left.
  await closed;
});
