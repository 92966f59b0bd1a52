/** Adapters of Hugging Face PEFT in and out; the format itself is tested in test/operations/safetensors.test.ts. */
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, test } from 'vitest';
import { redisUrl } from '../support/redis.js';
import { useStorage } from '../support/storage.js';
import { waitFor } from '../support/wait.js';
import { scratchDirectory } from './archives.js';
import { lora, loraJson } from './support.js';

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
