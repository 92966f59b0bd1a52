/** Children of a test: called, frozen, killed. */
import { expect, test } from 'vitest';
import { startChild } from './processes.js';
import { waitFor } from './wait.js';

const source = `
  export const add = (a, b) => a + b;
  export const environment = (name) => process.env[name];
  export const fail = () => { throw Object.assign(new TypeError('no'), { code: 'NO' }); };
  export const never = () => new Promise((resolve) => setTimeout(resolve, 1e9));
`;
const module = new URL(`data:text/javascript,${encodeURIComponent(source)}`);

test('calls what the module exports, with its environment', async () => {
  const child = await startChild(module, { GREETING: 'hello' });
  expect(await child.call<number>('add', 1, 2)).toBe(3);
  expect(await child.call<string>('environment', 'GREETING')).toBe('hello');
  await child.kill();
});

test("rejects with the child's error, its name and its code", async () => {
  const child = await startChild(module);
  await expect(child.call('fail')).rejects.toMatchObject({ name: 'TypeError', message: 'no', code: 'NO' });
  await child.kill();
});

test('a module that does not load fails the start', async () => {
  await expect(startChild(new URL('data:text/javascript,not a program'))).rejects.toMatchObject({
    name: 'SyntaxError',
  });
});

test('a frozen child answers when it continues', async () => {
  const child = await startChild(module);
  child.signal('SIGSTOP');
  let answered = false;
  const sum = child.call<number>('add', 1, 2).finally(() => {
    answered = true;
  });
  // While it is frozen another child lives a whole life.
  const other = await startChild(module);
  await other.call('add', 1, 1);
  await other.kill();
  expect(answered).toBe(false);
  child.signal('SIGCONT');
  expect(await sum).toBe(3);
  await child.kill();
});

test('a kill rejects what is under way and everything after', async () => {
  const child = await startChild(module);
  const call = expect(child.call('never')).rejects.toThrow('SIGKILL');
  await child.kill();
  await call;
  await expect(child.call('add', 1, 2)).rejects.toThrow('the child has ended');
  await waitFor(() => {
    try {
      process.kill(child.pid, 0);
      return false;
    } catch {
      return true;
    }
  });
});
