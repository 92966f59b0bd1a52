/** Whether what is stored can be loaded; what it finds is tested in test/cli/verify.test.ts. */
import { expect, test } from 'vitest';
import { Tables } from '../../src/operations/tables.js';
import { Verification, verify } from '../../src/operations/verify.js';
import { seed, user } from '../cli/archives.js';
import { useStorage } from '../support/storage.js';
import { withClient } from '../support/template.js';

const bench = useStorage();

test('progress is told batch by batch, and not by the page, which at a low rate takes minutes', async () => {
  // Batches of one each.
  const seeds = [1, 2, 3].map((n) => ({ userId: user(n), bytes: 4.5 * 1024 * 1024 }));
  await withClient(bench.postgresUrl, (client) => seed(client, seeds));
  const tables = await Tables.open(bench.postgresUrl, 60_000);
  const told: number[] = [];
  const found = new Verification();
  try {
    await verify(tables, { limit: 1, onProgress: (done) => told.push(done) }, found);
  } finally {
    await tables.close();
  }
  expect([found.rows, [...new Set(told)]]).toEqual([3, [1, 2, 3]]);
});
