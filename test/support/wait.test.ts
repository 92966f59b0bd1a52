/** waitFor returns what came true, and says what did not. */
import { expect, test } from 'vitest';
import { waitFor } from './wait.js';

test('resolves with the first truthy value', async () => {
  let looks = 0;
  expect(await waitFor(() => (++looks < 3 ? undefined : `after ${looks} looks`))).toBe('after 3 looks');
});

test('takes an error of the condition as not yet', async () => {
  let looks = 0;
  const value = await waitFor(async () => {
    if (++looks < 3) throw new Error('not yet');
    return looks;
  });
  expect(value).toBe(3);
});

test('says what it waited for, and why it was in vain', async () => {
  const never = () => {
    throw new Error('the reason');
  };
  await expect(waitFor(never, { timeoutMs: 30, what: 'the impossible' })).rejects.toMatchObject({
    message: 'waited 30 ms in vain for: the impossible',
    cause: { message: 'the reason' },
  });
  await expect(waitFor(() => looksFalse, { timeoutMs: 30 })).rejects.toThrow('looksFalse');
});

const looksFalse = false;
