/** Who gets at the live page and at its two nodes: the page alone, whatever else runs on this machine or in this browser. */
import { request } from 'node:http';
import { expect, test } from 'vitest';
import { useLivePage } from './stack.js';

const stack = useLivePage();
const PATH = '/v1/users/00000000-0000-4000-8000-000000000201/adapters';

interface Answer {
  status: number;
  type: string;
  body: string;
}

/** By node:http: fetch sends no Host and no Origin but its own. */
function send(url: string, method: string, headers: Record<string, string>, body = ''): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, headers }, async (response) => {
      const text = (await response.setEncoding('utf8').toArray()).join('');
      resolve({ status: response.statusCode ?? 0, type: response.headers['content-type'] ?? '', body: text });
    });
    sent.on('error', reject).end(body);
  });
}

test('a node lets nobody pass who has no token, under whichever name, and the page has it', async () => {
  expect(stack.nodes).toHaveLength(2);
  for (const { url } of stack.nodes) {
    for (const headers of [{}, { host: 'evil.example' }, { authorization: 'Bearer undefined' }]) {
      for (const path of [PATH, '/metrics']) {
        expect(await send(url + path, 'GET', headers)).toMatchObject({
          status: 401,
          type: expect.stringContaining('application/problem+json'),
        });
      }
    }
    expect((await send(url + PATH, 'DELETE', {})).status).toBe(401);
  }
  const page = await stack.open();
  for (const name of ['A', 'B']) {
    await page.selectOption('#node', name);
    await page.click('[data-action=rank]');
    await page.getByText(`Ranked 20 titles on node ${name}, by version 1`).waitFor();
  }
  await page.close();
  expect(stack.complaints).toEqual([]);
});

test('the token is in no frame, nowhere in the page and not on the terminal', async () => {
  const page = await (await fetch(stack.url)).text();
  const feed = await fetch(`${stack.url}/feed`);
  const reader = feed.body?.getReader();
  const frame = new TextDecoder().decode((await reader?.read())?.value);
  await reader?.cancel();
  expect(frame).toContain('"nodes":[{"name":"A"');
  // It is 64 hexadecimal digits.
  for (const text of [page, frame, stack.printed]) expect(text).not.toMatch(/\b[0-9a-f]{64}\b/);
});

test('a foreign page, a foreign name and nobody at all are refused', async () => {
  const { host, origin } = new URL(stack.url);
  const cut = `${stack.url}/actions/cut`;
  const json = { 'content-type': 'application/json' };
  const refused = { status: 403, type: expect.stringContaining('application/problem+json') };
  const foreign = { host: 'evil.example', origin: 'http://evil.example' };
  expect(await send(cut, 'POST', { ...json, host, origin: foreign.origin }, '{}')).toMatchObject(refused);
  expect(await send(cut, 'POST', { ...json, host, origin: 'null' }, '{}')).toMatchObject(refused);
  expect(await send(cut, 'POST', { ...json, host }, '{}')).toMatchObject(refused);
  expect(await send(cut, 'POST', { ...json, ...foreign }, '{}')).toMatchObject(refused);
  for (const path of ['', '/feed', '/nothing']) {
    expect(await send(`${stack.url}${path}`, 'GET', { host: foreign.host })).toMatchObject(refused);
    expect(await send(`${stack.url}${path}`, 'GET', { host, origin: foreign.origin })).toMatchObject(refused);
  }
  expect((await send(cut, 'POST', { 'content-type': 'text/plain', host, origin }, '{}')).status).toBe(415);
  // Of the page itself it would have been taken: the body names no user.
  const taken = await send(cut, 'POST', { ...json, host, origin }, '{}');
  expect(taken).toMatchObject({ ...refused, status: 400 });
  expect(JSON.parse(taken.body).detail).toContain("must have required property 'node'");
});
