/** The process: what it tells its parent, how it ends, and when it does not begin. */
import { type ChildProcess, fork } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { proxyTo } from '../../storage/faults/support.js';
import { redisUrl } from '../../support/redis.js';
import { waitFor } from '../../support/wait.js';
import { events, examples, type Message, useServers } from './support.js';

const { bench } = useServers();
const children: ChildProcess[] = [];

afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
});

/** preload: a program that runs in the process before the server. */
function start(env: NodeJS.ProcessEnv, preload?: string) {
  const servers = { DATABASE_URL: bench.postgresUrl, REDIS_URL: redisUrl(), LORA_STORE_NAMESPACE: bench.namespace };
  const child = fork(fileURLToPath(new URL('main.js', examples)), [], {
    env: { ...process.env, ...servers, PORT: '0', NODE_NAME: 'one', LORA_STORE_API_TOKEN: '', ...env },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    execArgv: preload === undefined ? [] : ['--import', `data:text/javascript,${encodeURIComponent(preload)}`],
  });
  children.push(child);
  const said = { out: '', err: '', messages: [] as Message[] };
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (said.out += text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (said.err += text));
  child.on('message', (message: Message) => said.messages.push(message));
  const ended = once(child, 'close').then(([code, signal]) => code ?? signal);
  const listening = async () =>
    String((await waitFor(() => said.messages.find(({ type }) => type === 'listening'), { what: said.err })).url);
  return { child, said, ended, listening };
}

/** A request whose headers the server has read, and whose body it waits for. */
async function halfRequest(url: string, path: string, body: string): Promise<{ socket: Socket; answer(): string }> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  let answer = '';
  socket.setEncoding('utf8').on('data', (text: string) => (answer += text));
  const head = [
    'content-type: application/json',
    `content-length: ${body.length}`,
    'expect: 100-continue',
    'host: here',
  ];
  socket.write(`POST ${path} HTTP/1.1\r\n${head.join('\r\n')}\r\n\r\n`);
  await waitFor(() => answer.startsWith('HTTP/1.1 100 Continue'));
  return { socket, answer: () => answer };
}

test('SIGTERM: not ready at once; the request under way and its training end; then it exits well', async () => {
  const { child, said, ended, listening } = start({ DRAIN_MS: '1000' });
  const url = await listening();
  const id = randomUUID();
  const body = JSON.stringify({ events });
  const { socket, answer } = await halfRequest(url, `/v1/users/${id}/events`, body);
  child.kill('SIGTERM');
  await waitFor(async () => {
    const response = await fetch(`${url}/readyz`);
    const { type } = (await response.json()) as { type?: string };
    return response.status === 503 && type?.endsWith('draining');
  });
  await waitFor(() =>
    fetch(`${url}/healthz`).then(
      () => false,
      () => true,
    ),
  );
  socket.write(body);
  await once(socket, 'close');
  expect(answer()).toContain('HTTP/1.1 202 Accepted');
  expect([await ended, said.err]).toEqual([0, '']);
  const rows = await bench.sql('select version, training_iterations from lora_adapters where user_id = $1', [id]);
  expect(rows).toEqual([{ version: 1, training_iterations: 1 }]);
  expect(said.messages.map(({ type }) => type)).toEqual(expect.arrayContaining(['listening', 'trained']));
  const logged = said.out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(logged.find(({ msg }) => msg === 'listening')).toMatchObject({ url, name: 'one' });
  expect(logged.at(-1).msg).toBe('closed');
});

test('DRAIN_MS takes nothing away from SHUTDOWN_MS', async () => {
  const { child, said, ended, listening } = start({ DRAIN_MS: '1500', SHUTDOWN_MS: '1500' });
  await listening();
  child.kill('SIGTERM');
  expect([await ended, said.err]).toEqual([0, '']);
  expect(said.out).toContain('"msg":"closed"');
});

test('trainings that Postgres refuses are given up in time, and it exits well', async () => {
  const proxy = await proxyTo(bench.postgresUrl);
  const { child, said, ended, listening } = start({ DATABASE_URL: proxy.url(bench.postgresUrl), SHUTDOWN_MS: '6000' });
  const url = await listening();
  proxy.cut();
  const body = JSON.stringify({ events });
  const headers = { 'content-type': 'application/json' };
  await fetch(`${url}/v1/users/${randomUUID()}/events`, { method: 'POST', headers, body });
  await waitFor(() => said.out.includes('a training failed'));
  child.kill('SIGTERM');
  expect(await ended).toBe(0);
  expect(said.out).toContain('"accepted":10,"waiting":0,"trained":0,"dropped":10,"msg":"drained"');
  await proxy.close();
});

test('requests that do not end are ended in time for what waits, and it exits well', async () => {
  const { child, said, ended, listening } = start({ SHUTDOWN_MS: '4000' });
  const url = await listening();
  const id = randomUUID();
  // 1. One has not said all of its head, one nothing of its body.
  const { hostname, port } = new URL(url);
  const head = connect(Number(port), hostname).on('error', () => undefined);
  head.write('GET /healthz HTTP/1.1\r\nhost: here\r\n');
  const { socket } = await halfRequest(url, `/v1/users/${id}/events`, '{}');
  socket.on('error', () => undefined);
  // 2. Ten events are enough to train on, one is not.
  const post = (count: number, adapterName: string) =>
    fetch(`${url}/v1/users/${id}/events`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ events: events.slice(0, count), adapterName }),
    });
  await Promise.all([post(10, 'default'), post(1, 'other')]);
  // 3. It is told to end.
  child.kill('SIGTERM');
  expect([await ended, said.err]).toEqual([0, '']);
  expect(said.out).toContain('"accepted":11,"waiting":0,"trained":10,"dropped":1,"msg":"drained"');
});

test('what holds the process once all is closed does so no longer than SHUTDOWN_MS', async () => {
  const { child, said, ended, listening } = start({ SHUTDOWN_MS: '2000' }, 'setInterval(() => {}, 1000)');
  await listening();
  child.kill('SIGTERM');
  expect(await ended).toBe(1);
  expect(said.out).toMatch(/"msg":"closed".*not ended in time/s);
});

test('on localhost it listens at one address, and so closes all that it has', async () => {
  // As most machines say, and not each.
  const two = `
    import dns from 'node:dns';
    const { lookup } = dns;
    const addresses = [{ address: '127.0.0.1', family: 4 }, { address: '::1', family: 6 }];
    dns.lookup = (name, options, done) => name === 'localhost' && options.all ? done(null, addresses) : lookup(name, options, done);
  `;
  const { child, ended, listening } = start({ HOST: 'localhost' }, two);
  const port = Number(new URL(await listening()).port);
  const opens = (host: string) => {
    const socket = connect(port, host);
    const opened = once(socket, 'connect').then(
      () => true,
      () => false,
    );
    return opened.finally(() => socket.destroy());
  };
  expect((await Promise.all(['127.0.0.1', '::1'].map(opens))).filter(Boolean)).toEqual([true]);
  child.kill('SIGTERM');
  expect(await ended).toBe(0);
});

test('it ends with its parent', async () => {
  const { child, listening } = start({});
  await listening();
  // No 'close' follows where the parent has disconnected.
  const exited = once(child, 'exit');
  child.disconnect();
  expect(await exited).toEqual([0, null]);
});

test('it ends with its parent, though it has not begun', async () => {
  const proxy = await proxyTo(bench.postgresUrl);
  // Slow, and not so slow that the storage would not open.
  proxy.delay(100);
  const { child, said } = start({ DATABASE_URL: proxy.url(bench.postgresUrl) });
  await waitFor(() => proxy.connections > 0);
  const exited = once(child, 'exit');
  child.disconnect();
  expect(await exited).toEqual([0, null]);
  expect(said.out).toBe('');
  await proxy.close();
});

test('what it cannot begin with is one line that says what to do', async () => {
  const open = start({ HOST: '0.0.0.0' });
  const port = start({ PORT: 'http' });
  expect([await open.ended, await port.ended]).toEqual([1, 1]);
  expect(open.said.err).toMatch(/^inference-server: refusing to listen on 0\.0\.0\.0 .*LORA_STORE_API_TOKEN.*\n$/);
  expect(port.said.err).toBe("inference-server: PORT is a whole number, not 'http'\n");
});
