/** The proxy's faults, each seen from the client's side. */
import { once } from 'node:events';
import { type AddressInfo, createServer, Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type FaultProxy, startProxy } from './proxy.js';
import { waitFor } from './wait.js';

/** Answers everything with itself and keeps what it heard. */
const heard: string[] = [];
const accepted: Socket[] = [];
const echo = createServer((socket) => {
  accepted.push(socket);
  socket.on('error', () => {});
  socket.on('data', (bytes) => {
    heard.push(bytes.toString());
    socket.write(bytes);
  });
});
let proxy: FaultProxy;
let clients: Client[];

interface Client {
  readonly socket: Socket;
  received: string;
}

beforeEach(async () => {
  heard.length = 0;
  accepted.length = 0;
  clients = [];
  await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve));
  proxy = await startProxy((echo.address() as AddressInfo).port);
});

afterEach(async () => {
  for (const { socket } of clients ?? []) socket.destroy();
  await proxy?.close();
  await new Promise((resolve) => echo.close(resolve));
});

async function connect(): Promise<Client> {
  const client: Client = { socket: new Socket().connect(proxy.port, '127.0.0.1'), received: '' };
  client.socket.on('error', () => {});
  client.socket.on('data', (bytes) => {
    client.received += bytes.toString();
  });
  clients.push(client);
  await once(client.socket, 'connect');
  return client;
}

async function echoes(client: Client, text: string): Promise<void> {
  client.socket.write(text);
  await waitFor(() => client.received.endsWith(text), { what: `the echo of ${text}` });
}

test('forwards in both directions and counts its connections', async () => {
  const client = await connect();
  await echoes(client, 'hello');
  expect(proxy.connections).toBe(1);
  client.socket.destroy();
  await waitFor(() => proxy.connections === 0);
});

test('names itself in the URL of its target', () => {
  expect(proxy.url('postgres://user:pass@somewhere:5432/db?x=1')).toBe(
    `postgres://user:pass@127.0.0.1:${proxy.port}/db?x=1`,
  );
});

test('cut resets the connections there are and those that come, until it is healed', async () => {
  const before = await connect();
  await echoes(before, 'a');
  proxy.cut();
  await waitFor(() => before.socket.closed);
  const during = new Socket().connect(proxy.port, '127.0.0.1').on('error', () => {});
  await waitFor(() => during.closed);
  proxy.heal();
  await echoes(await connect(), 'b');
});

test('mute keeps connections open, accepts new ones, and loses what they send', async () => {
  const before = await connect();
  await echoes(before, 'a');
  proxy.mute();
  const during = await connect();
  during.socket.write('lost');
  before.socket.write('lost');
  await waitFor(() => proxy.lostBytes === 'lostlost'.length);
  proxy.heal();
  await echoes(await connect(), 'after');
  expect(heard).toEqual(['a', 'after']);
  expect([before.received, during.received]).toEqual(['a', '']);
  expect(before.socket.destroyed || during.socket.destroyed).toBe(false);
});

test('a connection that was idle while the proxy was mute works on; one that lost a byte stays mute', async () => {
  const idle = await connect();
  await echoes(idle, 'a');
  const unlucky = await connect();
  await echoes(unlucky, 'b');
  proxy.mute('answers');
  unlucky.socket.write('c');
  await waitFor(() => heard.includes('c'));
  proxy.heal();
  unlucky.socket.write('d');
  await echoes(idle, 'e');
  expect(unlucky.received).toBe('b');
});

test('the end of a connection is not told while the proxy is mute, and shows at the next word after', async () => {
  const client = await connect();
  await echoes(client, 'a');
  proxy.mute();
  // Closed on this side only once the proxy has closed its own.
  const closed = accepted.map((socket) => once(socket.end(), 'close'));
  await Promise.all(closed);
  expect(client.socket.destroyed).toBe(false);
  proxy.heal();
  client.socket.write('b');
  await waitFor(() => client.socket.closed);
});

test('mute answers lets requests arrive', async () => {
  const client = await connect();
  await echoes(client, 'a');
  proxy.mute('answers');
  client.socket.write('commit');
  await waitFor(() => heard.includes('commit'));
  expect(client.received).toBe('a');
});

test('cutAfter ends a connection in the middle of an answer, of which the beginning arrives; new ones are spared', async () => {
  const [client, idle] = [await connect(), await connect()];
  await echoes(client, 'before');
  proxy.cutAfter(3);
  client.socket.write('answer');
  await waitFor(() => client.socket.closed);
  expect(client.received).toBe('beforeans');
  expect(idle.socket.destroyed).toBe(false);
  await echoes(await connect(), 'after');
  // Its turn comes with its own three bytes.
  idle.socket.write('answer');
  await waitFor(() => idle.socket.closed);
  expect(idle.received).toBe('ans');
});

test('hold keeps every answer until heal, and then all arrive in their order', async () => {
  const client = await connect();
  proxy.hold();
  client.socket.write('1');
  await waitFor(() => heard.includes('1'));
  client.socket.write('2');
  await waitFor(() => heard.includes('2'));
  expect(client.received).toBe('');
  proxy.heal();
  await waitFor(() => client.received === '12');
  await echoes(client, '3');
  expect(client.received).toBe('123');
});

test('delay holds answers back and keeps their order when it shrinks', async () => {
  const client = await connect();
  await echoes(client, '0');
  proxy.delay(200);
  const start = performance.now();
  client.socket.write('1');
  await waitFor(() => heard.includes('1'));
  proxy.delay(0);
  await echoes(client, '2');
  expect(client.received).toBe('012');
  expect(performance.now() - start).toBeGreaterThan(150);
});
