/** `lora-store export` and `import`: what went out comes back, whichever way, and what does not is told. */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { LoRAStorage } from '../../src/index.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { smallAdapter } from '../support/storage.js';
import { withClient } from '../support/template.js';
import { waitFor } from '../support/wait.js';
import { contents, holdReaders, scratchDirectory, seed, someoneWaits, start, user } from './archives.js';
import { lora, loraJson, SCRIPT } from './support.js';

const scratch = scratchDirectory();
const at = (name: string) => join(scratch, name);

/** Small, in many shapes of names; of two users an old version is missing. */
const SMALL = [
  { userId: user(1) },
  { userId: user(1), version: 2 },
  { userId: user(1), adapterName: 'A/../b' },
  { userId: user(2), version: 5 },
  { userId: user(2), version: 9, adapterName: 'Default' },
  { userId: user(3), adapterName: '😀 con' },
];

let from: TestDatabase;
let env: NodeJS.ProcessEnv;
const opened: TestDatabase[] = [];

async function database(seeds: Parameters<typeof seed>[1] = []): Promise<TestDatabase> {
  const made = await createDatabase();
  opened.push(made);
  await withClient(made.url, (client) => seed(client, seeds));
  return made;
}

beforeAll(async () => {
  from = await database(SMALL);
  env = { DATABASE_URL: from.url };
});

afterAll(async () => {
  for (const made of opened) await made.drop();
});

test.each(['all.tar', 'all.tar.gz', 'all.tgz', 'all'])(
  'all of %s comes back, to the microsecond and the byte',
  async (name) => {
    expect(await loraJson(['export', at(name)], env)).toEqual({ target: at(name), versions: 6, leftOut: 0 });
    expect(readdirSync(scratch).filter((file) => file.startsWith(`${name}.partial`))).toEqual([]);

    const to = await database();
    const args = ['import', at(name), '--create-users', '--postgres', to.url];
    expect(await loraJson(args)).toEqual({ imported: 6, unchanged: 0, problems: 0, firstProblems: [] });
    expect(await contents(to.url)).toEqual(await contents(from.url));
    expect(await loraJson(args)).toEqual({ imported: 0, unchanged: 6, problems: 0, firstProblems: [] });

    await withClient(to.url, async (client) => {
      const heads = 'select user_id, adapter_name, last_version, latest_version from lora_adapter_heads order by 1, 2';
      const { rows } = await client.query(heads);
      expect(rows).toEqual(await withClient(from.url, async (source) => (await source.query(heads)).rows));
      expect((await client.query('select from lora_adapters where checksum is null')).rowCount).toBe(0);
    });
    await using storage = await LoRAStorage.open({ postgres: to.url });
    expect((await storage.loadAdapterInfo(user(2))).version).toBe(5);
    expect(await storage.saveAdapter(smallAdapter(user(2)))).toBe(6);
  },
);

test('tar packs the directory and unpacks the archive', async () => {
  await lora(['export', at('unpacked')], env);
  execFileSync('tar', ['-czf', at('packed.tar.gz'), '-C', scratch, 'unpacked']);
  await lora(['export', at('plain.tar')], env);
  mkdirSync(at('plain'));
  execFileSync('tar', ['-xf', at('plain.tar'), '-C', at('plain')]);
  for (const source of [at('packed.tar.gz'), at('plain')]) {
    const to = await database();
    const said = await loraJson(['import', source, '--create-users', '--postgres', to.url]);
    expect(said).toEqual({ imported: 6, unchanged: 0, problems: 0, firstProblems: [] });
    expect(await contents(to.url)).toEqual(await contents(from.url));
  }
});

test('from stdout to stdin, compressed on the way or not', async () => {
  for (const filter of ['cat', 'gzip']) {
    const to = await database();
    const out = start(['export', '-'], env);
    const pipe = start(['import', '-', '--create-users'], { DATABASE_URL: to.url });
    const between = spawn(filter, { stdio: ['pipe', 'pipe', 'inherit'] });
    out.process.stdout?.pipe(between.stdin);
    between.stdout.pipe(pipe.process.stdin as NodeJS.WritableStream);
    expect(await out.ended).toEqual({ code: 0, stderr: 'lora-store: 6 versions exported\n' });
    expect((await pipe.ended).code).toBe(0);
    expect(await contents(to.url)).toEqual(await contents(from.url));
  }
});

test('--user, --name and --latest choose what goes out, and --user and --name what comes in', async () => {
  const count = async (...options: string[]) => {
    const target = at(`chosen${options.join('').replaceAll('/', '')}.tar`);
    return (await loraJson<{ versions: number }>(['export', target, ...options], env)).versions;
  };
  expect(await count('--user', user(1))).toBe(3);
  expect(await count('--latest')).toBe(5);
  expect(await count('--name', 'default', '--latest')).toBe(2);
  expect(await count('--user', user(2), '--name', 'Default')).toBe(1);
  expect(await count('--user', user(9))).toBe(0);

  await lora(['export', at('chosen.tar')], env);
  const to = await database();
  const chosen = ['import', at('chosen.tar'), '--create-users', '--postgres', to.url];
  expect(await loraJson([...chosen, '--user', user(2), '--name', 'default'])).toMatchObject({
    imported: 1,
    problems: 0,
  });
  expect(await loraJson([...chosen, '--user', user(1)])).toMatchObject({ imported: 3, problems: 0 });
});

test('a version that is there with other bytes, or whose user is not, is told and left alone', async () => {
  await lora(['export', at('conflict.tar')], env);
  const to = await database([{ userId: user(2) }, { userId: user(1), version: 2, bytes: 100 }]);
  const before = await contents(to.url);
  const args = ['import', at('conflict.tar'), '--postgres', to.url];
  const said = await lora([...args, '--json']);
  expect(said.code).toBe(1);
  const { imported, unchanged, problems, firstProblems } = JSON.parse(said.stdout);
  expect([imported, unchanged, problems]).toEqual([4, 0, 2]);
  expect(firstProblems).toEqual([
    expect.stringMatching(new RegExp(`^${user(1)}/default/2.lora: .* other bytes`)),
    expect.stringMatching(new RegExp(`^${user(3)}/_.*/1.lora: the user has no row`)),
  ]);
  const after = await contents(to.url);
  for (const row of before) expect(after).toContainEqual(row);

  const appended = await loraJson([...args, '--append', '--user', user(1), '--name', 'default', '--no-redis']);
  expect(appended).toMatchObject({ imported: 2, problems: 0 });
  await using storage = await LoRAStorage.open({ postgres: to.url });
  const versions = (await storage.listAdapters(user(1))).filter(({ adapterName }) => adapterName === 'default');
  expect(versions.map(({ version }) => version).sort()).toEqual([1, 2, 3, 4]);
  const noUser = await lora([...args, '--append', '--user', user(3), '--no-redis']);
  expect([noUser.code, noUser.stderr]).toEqual([1, expect.stringContaining('--create-users')]);
});

test('a saver who takes the same number while import waits for it keeps it', async () => {
  await lora(['export', at('raced.tar'), '--user', user(2)], env);
  const to = await database([{ userId: user(2), adapterName: 'Default' }]);
  await withClient(to.url, async (saver) => {
    await saver.query('begin');
    await seed(saver, [{ userId: user(2), version: 5, bytes: 100 }]);
    const running = start(['import', at('raced.tar')], { DATABASE_URL: to.url });
    await someoneWaits(to.url); // for the saver's head
    await saver.query('commit');
    expect(await running.ended).toEqual({ code: 1, stderr: expect.stringMatching(/default\/5.lora: .* other bytes/) });
  });
  expect(await contents(to.url)).toHaveLength(3);
});

test('two imports at once bring everything, once', async () => {
  await lora(['export', at('twice.tar.gz')], env);
  const to = await database();
  const release = await holdReaders(to.url);
  const both = [1, 2].map(() => start(['import', at('twice.tar.gz'), '--create-users'], { DATABASE_URL: to.url }));
  await someoneWaits(to.url, 2);
  await release();
  for (const { ended } of both) expect(await ended).toEqual({ code: 0, stderr: '' });
  expect(await contents(to.url)).toEqual(await contents(from.url));
});

test('a node that is running hears of what is imported', async () => {
  await lora(['export', at('heard.tar')], env);
  const to = await database([{ userId: user(2), version: 4 }]);
  await using storage = await LoRAStorage.open({ postgres: to.url, maxStalenessMs: 600_000 });
  expect((await storage.loadAdapterInfo(user(2))).version).toBe(4);
  await lora(['import', at('heard.tar'), '--create-users', '--postgres', to.url]);
  await waitFor(async () => (await storage.loadAdapterInfo(user(2))).version === 5);
});

test('damage costs what is damaged, and is told: a byte, a cut, a stranger, a link', async () => {
  await lora(['export', at('good.tar')], env);
  const good = readFileSync(at('good.tar'));
  const importing = async (bytes: Buffer | string, words: RegExp) => {
    const source = typeof bytes === 'string' ? bytes : at('bad.tar');
    if (typeof bytes !== 'string') writeFileSync(source, bytes);
    const to = await database();
    const said = await lora(['import', source, '--create-users', '--json', '--postgres', to.url]);
    expect([said.code, said.stderr]).toEqual([1, expect.stringMatching(words)]);
    return JSON.parse(said.stdout).imported;
  };
  const flipped = Buffer.from(good);
  flipped[600] = (flipped[600] as number) ^ 1; // in the second line of the first file
  expect(await importing(flipped, /1.lora: the checksum does not match/)).toBe(5);
  expect(await importing(good.subarray(0, 3 * 1024), /cut off: 3 files/)).toBe(3);
  expect(await importing(good.subarray(0, 3 * 1024 + 700), /cannot be read further/)).toBe(3);
  const header = Buffer.from(good);
  header[1024 + 5] = 0x41;
  expect(await importing(header, /cannot be read further after 1 files/)).toBe(1);
  expect(await importing(Buffer.from('hello'), /cannot be read further after 0/)).toBe(0);
  const compressed = execFileSync('gzip', ['-c'], { input: good });
  expect(await importing(compressed.subarray(0, compressed.length - 20), /cannot be read further/)).toBeGreaterThan(3);

  await lora(['export', at('tampered')], env);
  execFileSync('ln', ['-s', '/etc/passwd', join(at('tampered'), user(1), 'default/3.lora')]);
  writeFileSync(join(at('tampered'), user(1), 'default/._1.lora'), 'of macOS');
  execFileSync('cp', [
    join(at('tampered'), user(1), 'default/1.lora'),
    join(at('tampered'), user(2), 'default/1.lora'),
  ]);
  expect(await importing(at('tampered'), /3.lora: it is no plain file/)).toBe(6);
  execFileSync('tar', ['-cf', at('tampered.tar'), '-C', scratch, 'tampered']);
  expect(await importing(at('tampered.tar'), /it belongs at/)).toBe(6);
});

test('a row that is no adapter is left out, told, and makes the exit code 1', async () => {
  const bad = await database([{ userId: user(1) }, { userId: user(2) }]);
  await withClient(bad.url, (client) =>
    client.query(`update lora_adapters set weights = '\\x00' where user_id = $1`, [user(1)]),
  );
  const said = await lora(['export', at('bad-row.tar'), '--json', '--postgres', bad.url]);
  expect([said.code, JSON.parse(said.stdout)]).toEqual([1, { target: at('bad-row.tar'), versions: 1, leftOut: 1 }]);
  expect(said.stderr).toMatch(/left out: .*'default' version 1 of user .*001: the bytes end/);
});

test('a source that is not there is told, and nothing is said to be gone on with', async () => {
  const { code, stderr } = await lora(['import', at('nowhere.tar')], env);
  expect([code, stderr]).toEqual([
    2,
    expect.stringMatching(/^lora-store: there is no file or directory '.*nowhere.tar'\n$/),
  ]);
});

test.each(['all.tar', 'all'])('an export to a directory that is not there is told so: %s', async (name) => {
  const { code, stderr } = await lora(['export', at(`nowhere/${name}`)], env);
  expect([code, stderr]).toEqual([1, expect.stringMatching(/there is no directory .*nowhere for .*: make it/)]);
  expect(existsSync(at('nowhere'))).toBe(false);
});

test.each(['.', './', '../empty/'])('an empty directory is a target by whatever name: %s', async (name) => {
  mkdirSync(at('empty'));
  const options = { cwd: at('empty'), env: { ...process.env, ...env }, encoding: 'utf8' } as const;
  expect(execFileSync(process.execPath, [SCRIPT, 'export', name], options)).toBe('6 versions exported\n');
  expect(readdirSync(at('empty'))).toContain('lora-store.json');
  expect(readdirSync(scratch).filter((other) => other.startsWith('empty'))).toEqual(['empty']);
  rmSync(at('empty'), { recursive: true });
});

test('no name is no target', async () => {
  const { code, stderr } = await lora(['export', ''], env);
  expect([code, stderr]).toEqual([2, expect.stringContaining('name a target')]);
});

test('what is there already is not written over', async () => {
  writeFileSync(at('taken.tar'), 'precious');
  mkdirSync(at('taken/inside'), { recursive: true });
  for (const name of ['taken.tar', 'taken']) {
    const said = await lora(['export', at(name)], env);
    expect([said.code, said.stderr]).toEqual([1, expect.stringContaining('is there already')]);
  }
  expect(readFileSync(at('taken.tar'), 'utf8')).toBe('precious');
  writeFileSync(at('lost.tar.partial'), 'the only copy');
  const lost = await lora(['export', at('lost.tar')], env);
  expect([lost.code, lost.stderr]).toEqual([1, expect.stringContaining('can be imported')]);
  expect(readFileSync(at('lost.tar.partial'), 'utf8')).toBe('the only copy');
});
