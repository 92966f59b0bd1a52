/** Which ports servers are given. */
import { expect, test } from 'vitest';
import { freePort } from './ports.js';

test('no port is handed out twice, whether or not its server has bound it', async () => {
  const ports: number[] = [];
  while (ports.length < 500) ports.push(await freePort());
  expect(new Set(ports).size).toBe(500);
});

test('two workers side by side choose among different ports', async () => {
  const worker = Number(process.env.VITEST_POOL_ID);
  expect(worker).toBeGreaterThan(0);
  for (let i = 0; i < 50; i++) expect(Math.floor(((await freePort()) - 20_000) / 3000)).toBe(worker % 4);
});
