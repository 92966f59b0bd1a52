/** list, show, diff, rollback, delete and forget, while a node is running that serves what they change. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { encodeAdapter, type LoRAStorage, UserLoRAAdapter } from '../../src/index.js';
import { redisUrl } from '../support/redis.js';
import { smallAdapter, useStorage } from '../support/storage.js';
import { waitFor } from '../support/wait.js';
import { lora, loraJson } from './support.js';

const bench = useStorage();
const NOWHERE = 'redis://127.0.0.1:1';

let node: LoRAStorage;
let user: string;
let env: NodeJS.ProcessEnv;

beforeAll(async () => {
  // It hears from Redis alone, or it would go on serving what it holds.
  node = await bench.open({ changeFeed: false, maxStalenessMs: 3_600_000 });
  env = { DATABASE_URL: bench.postgresUrl, REDIS_URL: redisUrl() };
});

afterAll(() => node?.close());

/** Versions 1, 2 and 3, of which the last is in the node's memory. */
beforeEach(async () => {
  user = await bench.user();
  for (const seed of [1, 2, 3]) {
    const adapter = smallAdapter(user, seed);
    adapter.trainingIterations = 10 * seed;
    await node.saveAdapter(adapter);
  }
  await node.loadAdapter(user);
});

const versions = async () =>
  (await node.listAdapters(user)).map(({ version }) => version).toSorted((one, two) => two - one);
const change = (...args: string[]) => loraJson([...args, '--namespace', bench.namespace], env);

/** As somebody who knows no checksum: the trigger takes it away. */
const rewrite = (version: number, weights: Buffer) =>
  bench.sql('update lora_adapters set weights = $3 where user_id = $1 and version = $2', [user, version, weights]);

test('a version can be named up to the last that the column holds', async () => {
  const last = String(2 ** 31 - 1);
  await bench.sql(
    `insert into lora_adapters (user_id, version, weights, size_bytes)
    select user_id, $2, weights, size_bytes from lora_adapters where user_id = $1 and version = 2`,
    [user, last],
  );
  expect(await loraJson(['show', user, 'default', '--version', last], env)).toMatchObject({ version: Number(last) });
  expect((await lora(['diff', user, 'default', last, '1'], env)).code).toBe(0);
  expect(await change('delete', user, '--version', last, '--yes')).toMatchObject({ deleted: 1 });
});

describe('list', () => {
  test('newest first, with the latest marked, and how many more there are', async () => {
    await bench.sql(`insert into lora_adapters (user_id, adapter_name, weights, size_bytes, updated_at)
      values ('${user}', E'esc\\x1b[2J', 'x', 1, now() - interval '1 day')`);
    const listed = await loraJson<{ count: number; versions: object[] }>(['list', user.toUpperCase()], env);
    expect(listed.count).toBe(4);
    expect(listed.versions).toMatchObject([
      { adapterName: 'default', version: 3, latest: true, trainingIterations: 30, checksum: true },
      { adapterName: 'default', version: 2, latest: false },
      { adapterName: 'default', version: 1, latest: false },
      { adapterName: 'esc\u001b[2J', version: 1, latest: true, sizeBytes: 1, checksum: false },
    ]);
    const all = await lora(['list', user], env);
    expect(all.stdout).toContain('esc\\x1b[2J');
    expect(all.stdout).not.toContain('\u001b');
    const { stdout } = await lora(['list', user, '--limit', '1'], env);
    expect(stdout.trimEnd().split('\n')).toEqual([
      expect.stringMatching(/^adapter +version +latest/),
      expect.stringMatching(/^default +3 +latest/),
      '3 more: --limit 4',
    ]);
  });

  test('a user without any', async () => {
    const nobody = await bench.user();
    expect(await lora(['list', nobody], env)).toEqual({
      code: 0,
      stdout: `user ${nobody} has no adapters\n`,
      stderr: '',
    });
  });
});

describe('show', () => {
  test('the latest, or one that is asked for', async () => {
    const shown = await loraJson(['show', user], env);
    expect(shown).toMatchObject({ version: 3, latestVersion: 3, checksum: 'right', rank: 2, trainingIterations: 30 });
    const first = await loraJson(['show', user, 'default', '--version', '1'], env);
    expect(first).toMatchObject({ version: 1, latestVersion: 3, A: { rows: 2, cols: 3 }, B: { rows: 4, cols: 2 } });
    const { code, stdout } = await lora(['show', user, '--version', '1'], env);
    expect(code).toBe(0);
    expect(stdout).toContain('(the latest is 3, revision');
    expect(stdout).toMatch(/^A +2 × 3 +\d/m);
    expect(stdout).toMatch(/ █{40}$/m);
  });

  test('what is not there', async () => {
    const missing = await lora(['show', user, 'other'], env);
    expect(missing).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining("'other'") });
    const { code, stderr } = await lora(['show', user, '--version', '9'], env);
    expect([code, stderr]).toEqual([1, expect.stringContaining('version 9 of adapter')]);
  });

  test('bytes that lie: cut short, another user’s, changed under their checksum', async () => {
    const good = encodeAdapter(smallAdapter(user));
    await rewrite(1, good.subarray(0, -1));
    expect(await loraJson(['show', user, '--version', '1'], env)).toMatchObject({
      checksum: 'none',
      fault: expect.stringMatching(/./),
    });
    const strange = await bench.user();
    await rewrite(2, encodeAdapter(smallAdapter(strange)));
    expect(await loraJson(['show', user, '--version', '2'], env)).toMatchObject({
      fault: expect.stringContaining(strange),
      rank: 2,
    });
    await bench.sql('update lora_adapters set checksum = checksum # 1 where user_id = $1 and version = 3', [user]);
    const { code, stdout } = await lora(['show', user], env);
    expect([code, stdout]).toEqual([
      1,
      expect.stringMatching(/^checksum: wrong\ndamaged: the checksum does not match$/m),
    ]);
  });
});

describe('diff', () => {
  test('of what was trained: B moved, A did not', async () => {
    const trained = await node.loadAdapterVersion(user, 'default', 1);
    trained.updateWeights((_, b) => {
      b[5] = 2;
    });
    trained.trainingIterations = 11;
    const to = await node.saveAdapter(trained);
    const moved = await loraJson(['diff', user, 'default', '1', `${to}`], env);
    expect(moved).toMatchObject({
      trainingIterations: 1,
      A: { moved: 0, relative: 0 },
      B: { moved: expect.any(Number) },
    });
    expect(moved).toMatchObject({ largest: [{ layer: 'B', row: 2, column: 1, after: 2 }] });
    const { stdout } = await lora(['diff', user, 'default', '1', `${to}`], env);
    expect(stdout).toMatch(/^A .* 0 % +1$/m);
    expect(stdout).toMatch(/^s·B·A +\d/m);
  });

  test('of another shape: only what can be compared', async () => {
    const wider = new UserLoRAAdapter(user, { rank: 3, inputDim: 3, outputDim: 4 }).initializeRandom(9);
    const to = await node.saveAdapter(wider);
    expect(await loraJson(['diff', user, 'default', '1', `${to}`], env)).toMatchObject({
      A: null,
      B: null,
      product: { cosine: expect.any(Number) },
      largest: [],
    });
    expect((await lora(['diff', user, 'default', '1', `${to}`], env)).stdout).toContain('the shape changed');
  });

  test('of damaged bytes: which, and exit code 1', async () => {
    await rewrite(2, Buffer.from('no adapter'));
    const { code, stderr } = await lora(['diff', user, 'default', '1', '2'], env);
    expect([code, stderr]).toEqual([1, expect.stringContaining('version 2')]);
  });
});

describe('rollback', () => {
  test('appends the old version, and a running node serves it', async () => {
    expect(await change('rollback', user, 'default', '1')).toMatchObject({ toVersion: 1, version: 4 });
    await waitFor(async () => (await node.loadAdapterInfo(user)).version === 4);
    expect(encodeAdapter(await node.loadAdapter(user))).toEqual(
      encodeAdapter(await node.loadAdapterVersion(user, 'default', 1)),
    );
  });

  test('never to bytes that no load would accept', async () => {
    await rewrite(1, Buffer.from('no adapter'));
    const { code, stderr } = await lora(['rollback', user, 'default', '1'], env);
    expect([code, stderr]).toEqual([1, expect.stringContaining('cannot deserialize')]);
    expect(await versions()).toEqual([3, 2, 1]);
  });
});

describe('delete', () => {
  test('one version, or all, and a running node stops serving them', async () => {
    expect(await change('delete', user, '--version', '3', '--yes')).toMatchObject({ version: 3, deleted: 1 });
    await waitFor(async () => (await node.loadAdapterInfo(user)).version === 2);
    expect(await change('delete', user, 'default', '--yes')).toMatchObject({ deleted: 2 });
    await waitFor(() =>
      node.loadAdapter(user).then(
        () => false,
        ({ code }) => code === 'ADAPTER_NOT_FOUND',
      ),
    );
    expect(await lora(['delete', user, '--yes'], env)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('not found'),
    });
  });

  test('only this adapter', async () => {
    await node.saveAdapter(smallAdapter(user), 'other');
    await change('delete', user, 'other', '--yes');
    expect(await versions()).toEqual([3, 2, 1]);
  });

  test('Redis being away stops no deletion, and is said', async () => {
    const { code, stderr } = await lora(['delete', user, '--yes', '--redis', NOWHERE], env);
    expect([code, stderr]).toEqual([0, expect.stringMatching(/^lora-store: Redis does not take this/)]);
    expect(await versions()).toEqual([]);
  });
});

describe('forget', () => {
  test('every adapter, the head too, and a running node stops serving them', async () => {
    await node.saveAdapter(smallAdapter(user), 'other');
    expect(await change('forget', user, '--yes')).toEqual({ userId: user, deleted: 4 });
    await waitFor(() =>
      node.loadAdapter(user).then(
        () => false,
        ({ code }) => code === 'ADAPTER_NOT_FOUND',
      ),
    );
    expect(await bench.sql('select from lora_adapter_heads where user_id = $1', [user])).toEqual([]);
    expect(await change('forget', user, '--yes')).toEqual({ userId: user, deleted: 0 });
  });

  test('exit code 3 while Redis may keep something', async () => {
    const { code, stderr } = await lora(['forget', user, '--yes', '--redis', NOWHERE], env);
    expect([code, stderr]).toEqual([3, expect.stringContaining('may keep entries')]);
  });
});

test.each([['delete'], ['forget']])('%s without a terminal wants --yes, and does nothing without', async (command) => {
  const { code, stderr } = await lora([command, user], env);
  expect([code, stderr]).toEqual([2, expect.stringContaining('--yes')]);
  expect(await versions()).toEqual([3, 2, 1]);
});
