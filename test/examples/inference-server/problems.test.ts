/** Every way to be refused, as a problem (RFC 9457) that tells nothing of what is behind. */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { connect, type Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';
import * as lora from 'lora-store';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { proxyTo } from '../../storage/faults/support.js';
import { waitFor } from '../../support/wait.js';
import { ask, candidates, events, examples, problemOf, type Request, useServers } from './support.js';

const { bench, serve, openStorage } = useServers();
const user = `/v1/users/${randomUUID()}`;
let app: FastifyInstance;

beforeAll(async () => {
  app = await serve();
});

describe('what a schema does not allow is a 400', () => {
  const [event] = events;
  const refused: Request[] = [
    ['POST', '/v1/users/me/rank', { candidates }],
    ['POST', `${user}/rank?explain=yes`, { candidates }],
    ['POST', `${user}/rank`, { candidates: [] }],
    ['POST', `${user}/rank`, { candidates: 'drama-01' }],
    ['POST', `${user}/rank`, { candidates: [1] }],
    ['POST', `${user}/rank`, { candidates, limit: 3 }],
    ['POST', `${user}/rank`, { candidates, adapterName: '' }],
    ['POST', `${user}/rank`, { candidates, adapterName: 'x'.repeat(101) }],
    ['POST', `${user}/rank`, { candidates, adapterName: 'a\0b' }],
    ['POST', `${user}/rank`, { candidates, adapterName: '\ud83c' }],
    ['POST', `${user}/events`, { events, adapterName: 'a\0b' }],
    ['POST', `${user}/events`, { events, adapterName: '\udfac\ud83c' }],
    ['GET', `${user}/adapters/a%00b`],
    ['DELETE', `${user}/adapters/a%00b`],
    ['GET', `${user}/adapters/a%00b/versions/1`],
    ['DELETE', `${user}/adapters/a%00b/versions/1`],
    ['POST', `${user}/adapters/a%00b/rollback`, { version: 1 }],
    ['POST', `${user}/rank`, { candidates: Array(1001).fill('drama-01') }],
    ['POST', `${user}/events`, { events: [] }],
    ['POST', `${user}/events`, { events: Array(1001).fill(event) }],
    ['POST', `${user}/events`, { events: [{ ...event, completionRate: 1.1 }] }],
    ['POST', `${user}/events`, { events: [{ ...event, rating: 6 }] }],
    ['POST', `${user}/events`, { events: [{ ...event, isRewatch: 'true' }] }],
    ['POST', `${user}/events`, { events: [{ ...event, mood: 'good' }] }],
    ['GET', `${user}/adapters?limit=1`],
    ['GET', `${user}/adapters/default/versions/0`],
    ['GET', `${user}/adapters/default/versions/1.5`],
    ['DELETE', `${user}/adapters/default/versions/one`],
    ['POST', `${user}/adapters/default/rollback`, { version: '1' }],
    ['POST', `${user}/adapters/default/rollback`, {}],
    ['GET', '/readyz?verbose=1'],
  ];
  for (const [index, request] of refused.entries()) {
    test(`${request[0]} ${request[1].replace(user, '/v1/users/:id')}, ${index}`, async () => {
      expect(await problemOf(app, ...request)).toEqual([400, 'validation']);
    });
  }

  test('and nothing of these was trained on or counted as a rank', async () => {
    const { body } = await app.inject('/metrics');
    expect(body).toMatch(/lora_training_events\{state="accepted"\} 0/);
    expect(body).not.toMatch(/lora_rank_requests_total\{/);
  });
});

describe('what is wrong before a schema', () => {
  const raw = (payload: string | Buffer, type: string) =>
    app.inject({ method: 'POST', url: `${user}/rank`, payload, headers: { 'content-type': type } });

  test('a body that is too long, is no JSON, or is of another type', async () => {
    const long = JSON.stringify({ candidates: ['x'.repeat(400_000)] });
    const answers = await Promise.all([
      raw(long, 'application/json'),
      raw('{"candidates": [', 'application/json'),
      raw(JSON.stringify({ candidates }), 'text/plain'),
      raw('<rank/>', 'application/xml'),
    ]);
    expect(answers.map(({ statusCode }) => statusCode)).toEqual([413, 400, 415, 415]);
    for (const { headers, body } of answers) {
      expect(headers['content-type']).toMatch('application/problem+json');
      expect(JSON.parse(body)).toMatchObject({ type: expect.stringMatching(/^urn:/), title: expect.any(String) });
    }
  });

  test('a path that is none, or cannot be decoded: the answer does not repeat it', async () => {
    expect(await problemOf(app, 'GET', `${user}/nothing`)).toEqual([404, 'not-found']);
    expect(await problemOf(app, 'GET', `${user}/adapters/%zz`)).toEqual([400, 'bad-url']);
    expect((await app.inject(`${user}/adapters/%zz`)).body).not.toContain(user.slice(10));
  });

  describe('what Node would answer in its own way', () => {
    let port: number;
    beforeAll(async () => {
      const listening = await serve();
      await listening.listen({ port: 0, host: '127.0.0.1' });
      port = (listening.server.address() as AddressInfo).port;
    });
    /** Bytes as they are; the answer, once the server has closed the connection. */
    const say = async (...lines: string[]) => {
      const socket = connect(port, '127.0.0.1');
      socket.write(`${lines.join('\r\n')}\r\n\r\n`);
      let said = '';
      socket.setEncoding('utf8').on('data', (text: string) => (said += text));
      await once(socket, 'close');
      const [head = '', body = ''] = said.split('\r\n\r\n');
      return [head, JSON.parse(body)] as const;
    };
    const path = `POST ${user}/events HTTP/1.1`;
    const cases: [string, string[], number, string][] = [
      ['no HTTP at all', ['HELLO'], 400, 'bad-request'],
      ['no Host', [path, 'connection: close', 'content-length: 2'], 400, 'host-missing'],
      ['no Host, on no path', ['GET /nothing HTTP/1.1', 'connection: close'], 400, 'host-missing'],
      ['another expectation', [path, 'host: here', 'expect: 200-ok', 'content-length: 2'], 417, 'expectation-failed'],
    ];
    test.each(cases)('%s', async (_, lines, status, type) => {
      const [head, problem] = await say(...lines);
      expect(head).toMatch(new RegExp(`^HTTP/1\\.1 ${status} .*content-type: application/problem\\+json`, 's'));
      expect(problem).toMatchObject({ status, type: `urn:lora-store:problem:${type}`, detail: expect.any(String) });
    });

    test('HTTP/1.0 takes no Host, and its expectations mean nothing', async () => {
      const [head, body] = await say('GET /healthz HTTP/1.0', 'expect: 200-ok');
      expect([head.split('\r\n')[0], body]).toEqual(['HTTP/1.1 200 OK', { status: 'alive' }]);
    });
  });
});

test('bytes that are no HTTP behind a request whose answer has begun end it, and are not answered in its middle', async () => {
  const { clientErrorHandler } = await import(new URL('problem-handlers.js', examples).href);
  const server = createServer((_, response) => void response.write('begun'));
  onTestFinished(() => void server.close());
  await once(server.on('clientError', clientErrorHandler).listen(0, '127.0.0.1'), 'listening');
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  let said = '';
  socket.setEncoding('utf8').on('data', (text: string) => (said += text));
  socket.write('GET / HTTP/1.1\r\nhost: here\r\n\r\n');
  await waitFor(() => said.includes('begun'));
  socket.write('HELLO\r\n\r\n');
  await once(socket, 'close');
  expect(said.slice(said.indexOf('begun'))).toBe('begun\r\n');
});

test.each([
  ['by a reset', (socket: Socket) => void socket.resetAndDestroy()],
  ['by an end', (socket: Socket) => void socket.end()],
])('a client that hangs up in the middle of its body, %s, is no failure of this server', async (_, hangUp) => {
  const lines: string[] = [];
  const logStream = { write: (line: string) => void lines.push(line) };
  const listening = await serve({ logStream, logLevel: 'debug' });
  await listening.listen({ port: 0, host: '127.0.0.1' });
  const socket = connect((listening.server.address() as AddressInfo).port, '127.0.0.1');
  socket.write(`POST ${user}/events HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\n`);
  socket.write('content-length: 100\r\nexpect: 100-continue\r\n\r\n');
  // The server reads the body.
  await once(socket, 'data');
  hangUp(socket);
  await waitFor(() => lines.some((line) => /hung up|failed/.test(line)));
  const logged = lines.map((line) => JSON.parse(line));
  expect(logged).toContainEqual(expect.objectContaining({ level: 20, msg: 'a client hung up' }));
  expect(logged.filter(({ level, status }) => level > 30 || status >= 500)).toEqual([]);
  expect((await listening.inject('/metrics')).body).not.toContain('status="500"');
});

describe('what is wrong with what was asked for', () => {
  test('content that the catalogue does not have', async () => {
    expect(await problemOf(app, 'POST', `${user}/rank`, { candidates: ['drama-01', 'opera-01'] })).toEqual([
      422,
      'unknown-content',
    ]);
    const unknown = [...events, { contentId: 'opera-01', completionRate: 1 }];
    expect(await problemOf(app, 'POST', `${user}/events`, { events: unknown })).toEqual([422, 'unknown-content']);
  });

  test('an adapter or version that is not there', async () => {
    const requests: Request[] = [
      ['GET', `${user}/adapters/default`],
      ['GET', `${user}/adapters/default/versions/1`],
      ['DELETE', `${user}/adapters/default`],
      ['DELETE', `${user}/adapters/default/versions/1`],
      ['POST', `${user}/adapters/default/rollback`, { version: 1 }],
    ];
    for (const request of requests) expect(await problemOf(app, ...request)).toEqual([404, 'adapter-not-found']);
  });

  test('a version that passes the schema, and no storage', async () => {
    expect(await problemOf(app, 'GET', `${user}/adapters/a/versions/9999999999`)).toEqual([400, 'invalid-adapter']);
  });

  test('bytes that are no adapter: 500 when asked for, and no ranking is lost by them', async () => {
    const id = await bench.user();
    await bench.sql(
      `insert into lora_adapters (user_id, version, weights, size_bytes) values ($1, 1, '\\xdeadbeef', 4)`,
      [id],
    );
    expect(await problemOf(app, 'GET', `/v1/users/${id}/adapters/default`)).toEqual([500, 'adapter-corrupt']);
    const { body } = await ask(app, 'POST', `/v1/users/${id}/rank`, { candidates });
    expect(body.fallback).toBe('ADAPTER_CORRUPT');
  });

  test('more than the storage takes at once: 503, with when to come again', async () => {
    const proxy = await proxyTo(bench.postgresUrl);
    const postgres = { connectionString: proxy.url(bench.postgresUrl), max: 1 };
    const storage = await openStorage({
      postgres,
      maxQueue: 0,
      redis: false,
      changeFeed: false,
      postgresTimeoutMs: 1000,
    });
    const busy = await serve({ storage });
    proxy.mute();
    // The one connection there is: its question gets no answer.
    const first = problemOf(busy, 'GET', `${user}/adapters`);
    const { status, body, headers } = await ask(busy, 'GET', `${user}/adapters`);
    expect([status, body.type]).toEqual([503, 'urn:lora-store:problem:storage-overloaded']);
    expect(headers['retry-after']).toBe('1');
    expect(await first).toEqual([503, 'storage-unavailable']);
    await proxy.close();
  });
});

test('every error of the package has its status, and an error of nobody is a 500; no message of a driver gets out', async () => {
  const problems = await import(new URL('problems.js', examples).href);
  const of = (error: unknown) => {
    const { status, code, message, retryAfterS } = problems.problemOf(error);
    expect(message).not.toMatch(/secret/);
    return [status, code, retryAfterS];
  };
  const id = randomUUID();
  expect(of(new lora.AdapterNotFoundError(id, 'secret'))).toEqual([404, 'ADAPTER_NOT_FOUND', undefined]);
  expect(of(new lora.UserNotFoundError('secret'))).toEqual([404, 'USER_NOT_FOUND', undefined]);
  expect(of(new lora.VersionConflictError(1, 2))).toEqual([409, 'VERSION_CONFLICT', undefined]);
  expect(of(new lora.InvalidAdapterError('words'))).toEqual([400, 'INVALID_ADAPTER', undefined]);
  expect(of(new lora.EmbeddingError('c', 'is not there'))).toEqual([422, 'EMBEDDING_UNUSABLE', undefined]);
  expect(of(new lora.AdapterCorruptError('secret'))).toEqual([500, 'ADAPTER_CORRUPT', undefined]);
  expect(of(new lora.StorageUnavailableError('secret'))).toEqual([503, 'STORAGE_UNAVAILABLE', 1]);
  expect(of(new lora.StorageOverloadedError('secret'))).toEqual([503, 'STORAGE_OVERLOADED', 1]);
  expect(of(new lora.SaveOutcomeUnknownError('secret'))).toEqual([504, 'SAVE_OUTCOME_UNKNOWN', undefined]);
  expect(of(new lora.StorageClosedError())).toEqual([503, 'STORAGE_CLOSED', 1]);
  expect(of(new lora.SchemaError('secret'))).toEqual([500, 'INTERNAL', undefined]);
  expect(of(new lora.SharedWeightsError(id, 'secret'))).toEqual([500, 'INTERNAL', undefined]);
  expect(of(new TypeError('secret'))).toEqual([500, 'INTERNAL', undefined]);
  expect(of(Object.assign(new Error('secret'), { statusCode: 404 }))).toEqual([500, 'INTERNAL', undefined]);
  expect(of(Object.assign(new Error('secret'), { code: 'ECONNRESET' }))).toEqual([500, 'INTERNAL', undefined]);
  expect(of(undefined)).toEqual([500, 'INTERNAL', undefined]);
});
