/** Adapters of Hugging Face PEFT in and out; the format itself is tested in test/operations/safetensors.test.ts. */
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, test } from 'vitest';
import { UserLoRAAdapter } from '../../src/index.js';
import { redisUrl } from '../support/redis.js';
import { useStorage } from '../support/storage.js';
import { waitFor } from '../support/wait.js';
import { scratchDirectory, start } from './archives.js';
import { lora, loraJson, SCRIPT } from './support.js';

const bench = useStorage();
const scratch = scratchDirectory();
const golden = fileURLToPath(new URL('../fixtures/safetensors/python.safetensors', import.meta.url));
const OUT = join(scratch, 'adapter_model.safetensors');

let env: NodeJS.ProcessEnv;
let user: string;

beforeAll(async () => {
  env = { DATABASE_URL: bench.postgresUrl, REDIS_URL: redisUrl() };
  user = await bench.user();
});

test('an adapter trained in Python comes in as a new version, is heard of, and goes out again', async () => {
  const node = await bench.open({ maxStalenessMs: 600_000 });
  const args = ['import', golden, '--user', user, '--name', 'taste', '--namespace', bench.namespace];
  expect(await loraJson([...args, '--module', 'q'], env)).toEqual({ userId: user, adapterName: 'taste', version: 1 });
  expect([...(await node.loadAdapter(user, 'taste')).userLayerWeights.data]).toEqual([0.25, -8, 2 ** -14, 1.5]);
  expect(await loraJson([...args, '--module', 'base_model.model.v'], env)).toMatchObject({ version: 2 });
  await waitFor(async () => (await node.loadAdapterInfo(user, 'taste')).version === 2);

  const chosen = ['--user', user, '--name', 'taste', '--version', '1', '--module', 'layers.3.q_proj'];
  const config = join(scratch, 'adapter_config.json');
  expect(await loraJson(['export', OUT, ...chosen], env)).toEqual({ target: OUT, config });
  expect(readdirSync(scratch).sort()).toEqual(['adapter_config.json', 'adapter_model.safetensors']);
  expect(JSON.parse(readFileSync(config, 'utf8'))).toMatchObject({
    ...{ peft_type: 'LORA', r: 2, lora_alpha: 4, target_modules: ['layers.3.q_proj'], use_rslora: false },
  });
  const taken = await lora(['export', OUT, ...chosen], env);
  expect([taken.code, taken.stderr]).toEqual([1, expect.stringContaining('is there already')]);

  const other = ['import', OUT, '--user', '00000000-0000-0000-0000-0000000000aa'];
  expect((await lora(other, env)).code).toBe(1);
  expect((await lora([...other, '--create-users'], env)).code).toBe(0);
  const rows = await bench.sql(
    `select count(distinct substr(weights, 25)) from lora_adapters where version = 1 and training_iterations = 0`,
  );
  expect(rows).toEqual([{ count: '1' }]); // but for the user id, the bytes are the same
});

/** A directory, and an export of a whole adapter of 41 kB into it. */
async function exportInto(name: string) {
  const storage = await bench.open();
  await storage.saveAdapter(new UserLoRAAdapter(user).initializeRandom(1), name);
  const directory = join(scratch, name);
  mkdirSync(directory);
  const target = join(directory, 'a.safetensors');
  return { directory, target, args: ['export', target, '--user', user, '--name', name, '--module', 'q'] };
}

test('an export that the disk has no room for leaves nothing, and goes well once there is', async () => {
  const { directory, target, args } = await exportInto('full');
  // No file may be larger: to the process it is a write that fails in the middle, as on a full disk.
  const limited = (...command: string[]) => {
    const shell = ['-c', 'ulimit -f 16; exec "$@"', 'bash', process.execPath, SCRIPT, ...command];
    const { status, stderr } = spawnSync('bash', shell, { env: { ...process.env, ...env }, encoding: 'utf8' });
    expect([status, stderr]).toEqual([1, expect.stringMatching(/EFBIG/)]);
    return readdirSync(directory).sort();
  };
  expect(limited(...args)).toEqual([]);
  expect((await lora(args, env)).code).toBe(0);
  // The config of one that is there already, and has the same settings, is not taken back.
  const another = args.map((word) => word.replace(target, join(directory, 'b.safetensors')));
  expect(limited(...another)).toEqual(['a.safetensors', 'adapter_config.json']);
});

test('killed between its config and its weights it is run again, and a config that says otherwise is not written over', async () => {
  const { directory, target, args } = await exportInto('killed');
  const [config, beside] = [join(directory, 'adapter_config.json'), `${target}.new`];
  // Nobody reads from it: whoever writes waits.
  execFileSync('mkfifo', [beside]);
  const killed = start(args, env);
  await waitFor(() => existsSync(config));
  killed.process.kill('SIGKILL');
  await killed.ended;
  rmSync(beside);
  writeFileSync(beside, 'half of it');
  const written = readFileSync(config, 'utf8');

  writeFileSync(config, written.replace('"r": 8', '"r": 4'));
  const refused = await lora(args, env);
  expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('adapter_config.json is there already')]);
  writeFileSync(config, written);
  expect(await lora(args, env)).toMatchObject({ code: 0, stderr: '' });
  expect(readdirSync(directory).sort()).toEqual(['a.safetensors', 'adapter_config.json']);
  expect(readFileSync(config, 'utf8')).toBe(written);
});

test.each(['1e999', '1e308'])('alpha is %s: the config is at fault, and not the command line', async (alpha) => {
  const directory = join(scratch, alpha);
  mkdirSync(directory);
  copyFileSync(golden, join(directory, 'adapter_model.safetensors'));
  const config = `{"r": 2, "lora_alpha": ${alpha}}`;
  writeFileSync(join(directory, 'adapter_config.json'), config);
  const args = ['import', join(directory, 'adapter_model.safetensors'), '--user', user, '--module', 'q'];
  const stderr = expect.stringMatching(/no adapter can be made of the file and its config: /);
  expect(await lora(args, env)).toEqual({ code: 1, stdout: '', stderr });
});

test.each([
  ['no user', ['import', golden], 2, /use --user/],
  ['a user that is none', ['import', golden, '--user', 'x', '--module', 'q'], 2, /a user id is/],
  [
    'several modules',
    ['import', golden, '--user', '00000000-0000-0000-0000-0000000000aa'],
    1,
    /choose one with --module/,
  ],
  [
    'a file that is not there',
    ['import', join(scratch, 'nowhere.safetensors'), '--user', '00000000-0000-0000-0000-0000000000aa'],
    2,
    /there is no file or directory '.*nowhere.safetensors'/,
  ],
  [
    'a module without a name',
    ['export', join(scratch, 'x.safetensors'), '--user', '00000000-0000-0000-0000-0000000000aa', '--module', ''],
    2,
    /'--module <name>' argument '' is invalid. It must not be empty/,
  ],
  ['one of a prefix alone', ['import', golden, '--module', 'base_model.model.'], 2, /It must not be empty/],
  ['a module for a tar', ['import', 'x.tar', '--module', 'q'], 2, /goes with a .safetensors/],
  ['a module for a tar to write', ['export', join(scratch, 'x.tar'), '--module', 'q'], 2, /go with a .safetensors/],
  [
    'no module',
    ['export', join(scratch, 'x.safetensors'), '--user', '00000000-0000-0000-0000-0000000000aa'],
    2,
    /with --module/,
  ],
  [
    'an adapter that is not there',
    ['export', join(scratch, 'x.safetensors'), '--user', '00000000-0000-0000-0000-0000000000ab', '--module', 'q'],
    1,
    /not found/,
  ],
])('%s ends with its exit code and one sentence', async (_, args, code, words) => {
  expect(await lora(args, env)).toEqual({ code, stdout: '', stderr: expect.stringMatching(words) });
});
