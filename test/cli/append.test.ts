/** `lora-store import --append`: what is saved last is the latest, so the versions of an adapter come in their order. */
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { withClient } from '../support/template.js';
import { contents, scratchDirectory, seed, user } from './archives.js';
import { lora, loraJson } from './support.js';

const scratch = scratchDirectory();
const at = (name: string) => join(scratch, name);
const VERSIONS = 30;

let from: TestDatabase;
const opened: TestDatabase[] = [];

beforeAll(async () => {
  from = await database();
  const seeds = Array.from({ length: VERSIONS }, (_, i) => ({ userId: user(1), version: i + 1 }));
  await withClient(from.url, (client) => seed(client, seeds));
  await loraJson(['export', at('tree'), '--postgres', from.url]);
});

afterAll(async () => {
  for (const made of opened) await made.drop();
});

async function database(): Promise<TestDatabase> {
  const made = await createDatabase();
  opened.push(made);
  return made;
}

const append = (source: string, url: string) =>
  lora(['import', '--append', '--create-users', '--no-redis', source, '--postgres', url]);

const digests = async (url: string) =>
  (await contents(url)).map((row) => (row as { sha256: Buffer }).sha256.toString('hex'));

test('of a directory they are saved by their numbers, and not as the file system lists them', async () => {
  const to = await database();
  expect((await append(at('tree'), to.url)).code).toBe(0);
  expect(await digests(to.url)).toEqual(await digests(from.url));
});

test('a tar in which a version comes behind a newer one is refused there, with the way out', async () => {
  const names = [7, 10, 2].map((version) => `${user(1)}/default/${version}.lora`);
  execFileSync('tar', ['-cf', at('mixed.tar'), '-C', at('tree'), ...names, 'lora-store.json']);
  const to = await database();
  const said = await append(at('mixed.tar'), to.url);
  expect([said.code, said.stderr]).toEqual([
    1,
    expect.stringMatching(/default\/2\.lora comes behind version 10.*tar -x/),
  ]);
  expect(await contents(to.url)).toHaveLength(2);

  mkdirSync(at('unpacked'));
  execFileSync('tar', ['-xf', at('mixed.tar'), '-C', at('unpacked')]);
  const again = await database();
  await append(at('unpacked'), again.url);
  const all = await digests(from.url);
  expect(await digests(again.url)).toEqual([2, 7, 10].map((version) => all[version - 1]));
});
