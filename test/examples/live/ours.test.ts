/** Whose request the live page answers, at whichever port: a browser leaves out the port where it is that of http. */
import { expect, test } from 'vitest';

interface Request {
  method: string;
  headers: { host?: string; origin?: string };
  socket: { localPort: number };
}

const path = new URL('../../../examples/live/server.js', import.meta.url).href;
const { isOurs } = (await import(path)) as { isOurs(request: Request): boolean };

/** Whether a GET without an Origin, a GET and a POST with one are answered. */
function answered(localPort: number, host: string, origin = `http://${host}`): boolean[] {
  const socket = { localPort };
  return [
    isOurs({ method: 'GET', headers: { host }, socket }),
    isOurs({ method: 'GET', headers: { host, origin }, socket }),
    isOurs({ method: 'POST', headers: { host, origin }, socket }),
  ];
}

test.each([
  [80, '127.0.0.1'],
  [80, 'localhost'],
  [8080, '127.0.0.1:8080'],
  [443, 'localhost:443'],
])('at port %i the page is %s', (port, host) => {
  expect(answered(port, host)).toEqual([true, true, true]);
});

test.each([
  [80, 'evil.example'],
  [80, '127.0.0.1:8080'],
  [8080, '127.0.0.1'],
  [8080, 'localhost:80'],
  [443, 'localhost'],
  [80, ''],
])('at port %i nobody is %s', (port, host) => {
  expect(answered(port, host)).toEqual([false, false, false]);
});

test('another page has another origin, at port 80 too', () => {
  for (const origin of ['http://127.0.0.1:8080', 'https://127.0.0.1', 'http://localhost', 'null', '']) {
    expect(answered(80, '127.0.0.1', origin)).toEqual([true, false, false]);
  }
  expect(isOurs({ method: 'POST', headers: { host: 'localhost' }, socket: { localPort: 80 } })).toBe(false);
});
