/**
 * The addon for who has no compiler: built by scripts/prebuild.mjs, packed, installed from the tarball as from a registry,
 * with no script run, and loaded by every Node that the package is for. Fetches those, the cross compiler and the
 * dependencies of the package from the npm registry, and an emulator from Debian's archive; runs on Linux x64 with glibc.
 */
import { execFile } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { encodeAdapter, UserLoRAAdapter } from '../../src/index.js';
import { type Command, emulatedNode, nodeOf, unpackedFromNpm } from '../support/nodes.js';
import { copyProject, manifest, pack } from '../support/package.js';
import { root } from '../support/root.js';

const execute = promisify(execFile);

/** A first use compiles the C++ library of both targets and downloads 400 MB. */
const PATIENCE_MS = 1_200_000;

const targets = ['linux-x64', 'linux-arm64'];

/** The oldest that the package is for, and the last of each line since. */
const versions = ['20.17.0', '22.23.3', '24.21.0', '26.10.0'];
const EMULATED = '24.22.0';
const PNPM = 'pnpm@10.34.8';

let scratch: string;
/** A copy of the project, with prebuilds. */
let clone: string;
let tarball: string;
/** Somebody's project that installed the tarball. */
let consumer: string;
/** What npm said while it did. */
let said: { stdout: string; stderr: string };

beforeAll(async () => {
  scratch = realpathSync(mkdtempSync(join(tmpdir(), 'lora-store-prebuilt-')));
  clone = join(scratch, 'clone');
  consumer = join(scratch, 'consumer');
  copyProject(clone);
  symlinkSync(join(root, '.cache'), join(clone, '.cache'));
  // What the tests need of registries and archives arrives while the compiler is busy.
  const fetched = [...versions.map((version) => nodeOf(version)), emulatedNode(EMULATED), unpackedFromNpm(PNPM)];
  await Promise.all([prebuild(root, join(clone, 'prebuilds'), targets), ...fetched]);
  tarball = await pack(clone, scratch);
  mkdirSync(consumer);
  writeFileSync(join(consumer, 'package.json'), '{ "private": true, "type": "module" }');
  said = await npmInstall(consumer);
}, PATIENCE_MS);

afterAll(() => rmSync(scratch, { recursive: true, force: true }));

async function prebuild(project: string, out: string, wanted: readonly string[]): Promise<void> {
  await execute(process.execPath, [join(project, 'scripts/prebuild.mjs'), '--out', out, ...wanted]);
}

async function npmInstall(project: string) {
  const quiet = ['--no-audit', '--no-fund'];
  return await execute('npm', ['install', '--ignore-scripts', ...quiet, tarball], {
    cwd: project,
    env: await client(),
  });
}

/** A package manager's environment: the registry and the cache of this machine, and no other setting of its user. */
async function client(): Promise<NodeJS.ProcessEnv> {
  const setting = async (name: string) => (await execute('npm', ['config', 'get', name])).stdout.trim();
  const nothing = join(scratch, 'npmrc');
  writeFileSync(nothing, '');
  const authorities = await setting('cafile');
  return {
    PATH: process.env.PATH,
    HOME: scratch,
    npm_config_userconfig: nothing,
    npm_config_registry: await setting('registry'),
    npm_config_cache: await setting('cache'),
    npm_config_update_notifier: 'false',
    ...(authorities === 'null' ? {} : { npm_config_cafile: authorities }),
  };
}

/** What a program of this project's gets from the package, on this Node. */
async function outcome(project: string, [program, ...args]: Command): Promise<unknown> {
  const { LORA_STORE_CODEC: _, LORA_STORE_SIMD: __, ...env } = process.env;
  const evaluated = [...args, '--input-type=module', '--eval', source];
  const { stdout, stderr } = await execute(program, evaluated, { cwd: project, env });
  expect(stderr).toBe('');
  return JSON.parse(stdout);
}

/** All of its sums are exact, so that every lane gives the same. */
const source = `
  import { codec, decodeAdapter, encodeAdapter, UserLoRAAdapter } from 'lora-store';
  const adapter = new UserLoRAAdapter('00000000-0000-4000-8000-000000000001', { rank: 2, inputDim: 16, outputDim: 4 });
  adapter.updateWeights((base, user) => { base.fill(0.5); user.fill(0.25); });
  const bytes = encodeAdapter(adapter);
  const out = decodeAdapter(bytes).forward(new Float32Array(16).fill(1));
  console.log(JSON.stringify({ codec, bytes: bytes.toString('hex'), out: [...out] }));
`;

/** The same of the sources. */
function expected(codec: unknown) {
  const adapter = new UserLoRAAdapter('00000000-0000-4000-8000-000000000001', { rank: 2, inputDim: 16, outputDim: 4 });
  adapter.updateWeights((base, user) => {
    base.fill(0.5);
    user.fill(0.25);
  });
  const out = [...adapter.forward(new Float32Array(16).fill(1))];
  return { codec, bytes: encodeAdapter(adapter).toString('hex'), out };
}

describe('what was built', () => {
  const binary = (target: string) => join(clone, 'prebuilds', `lora_store-${target}`, 'node-napi-v8.node');

  test.each(targets)('%s: needs no C++ library and no glibc after 2.28', async (target) => {
    const { stdout } = await execute('readelf', ['--dynamic', '--dyn-syms', '--wide', binary(target)]);
    const libraries = [...stdout.matchAll(/\(NEEDED\).*\[(\S+)\]/g)].map(([, name = '']) => name);
    expect(libraries).toContain('libc.so.6');
    expect(libraries.filter((name) => !/^(libc|libm|libdl|libpthread|ld-linux-.*)\.so\.\d+$/.test(name))).toEqual([]);
    const versions = [...stdout.matchAll(/@GLIBC_2\.(\d+)/g)].map(([, minor]) => Number(minor));
    expect(versions).not.toEqual([]);
    expect(Math.max(...versions)).toBeLessThanOrEqual(28);
    expect(stdout).not.toMatch(/GLIBCXX|CXXABI/);
  });

  test(
    'the same bytes wherever the sources lie, as the manifest says',
    async () => {
      const again = join(scratch, 'again');
      await prebuild(clone, again, targets);
      const manifestIn = (directory: string) => JSON.parse(readFileSync(join(directory, 'manifest.json'), 'utf8'));
      expect(manifestIn(again)).toEqual(manifestIn(join(clone, 'prebuilds')));
      expect(manifestIn(again).binaries.map(({ target }: { target: string }) => target)).toEqual(targets);
    },
    PATIENCE_MS,
  );
});

describe('installed by npm without scripts', () => {
  test('says what it added, and nothing else', () => {
    expect(said.stderr).toBe('');
    expect(said.stdout.trim()).toMatch(/^added \d+ packages in \S+$/);
  });

  const native = { kind: 'native', simd: expect.stringMatching(/^(avx512|avx2|scalar)$/) };

  test('native on the Node that runs the tests', async () => {
    expect(await outcome(consumer, [process.execPath])).toEqual(expected(native));
  });

  test.each(versions)(
    'native on Node %s',
    async (version) => {
      const node = await nodeOf(version);
      expect((await execute(node[0], ['--version'])).stdout.trim()).toBe(`v${version}`);
      expect(await outcome(consumer, node)).toEqual(expected(native));
    },
    PATIENCE_MS,
  );

  test(
    'native on arm64',
    async () => {
      const node = await emulatedNode(EMULATED);
      expect(await outcome(consumer, node)).toEqual(expected({ kind: 'native', simd: 'neon' }));
    },
    PATIENCE_MS,
  );

  test(
    'on arm64, NEON and the instruction for checksums give what plain arithmetic gives',
    async () => {
      const [program, ...args] = await emulatedNode(EMULATED);
      const binary = join(
        consumer,
        'node_modules',
        manifest.name,
        'prebuilds/lora_store-linux-arm64/node-napi-v8.node',
      );
      const { stdout } = await execute(program, [...args, join(root, 'test/package/lanes.mjs'), binary, 'neon']);
      const compared = JSON.parse(stdout);
      expect(compared.halves).toBeGreaterThan(400_000);
      expect(compared).toMatchObject({ sums: 774, checksums: 205 });
    },
    PATIENCE_MS,
  );
});

test(
  'native when pnpm installs it, which runs no scripts by itself',
  async () => {
    const project = join(scratch, 'pnpm');
    mkdirSync(project);
    writeFileSync(join(project, 'package.json'), '{ "private": true, "type": "module" }');
    const pnpm = join(await unpackedFromNpm(PNPM), 'bin/pnpm.cjs');
    const { stdout } = await execute(process.execPath, [pnpm, 'add', '--store-dir', join(scratch, 'store'), tarball], {
      cwd: project,
      env: await client(),
    });
    expect(stdout).not.toMatch(/warn|ignored build scripts/i);
    expect(await outcome(project, [process.execPath])).toEqual(expected({ kind: 'native', simd: expect.any(String) }));
  },
  PATIENCE_MS,
);

describe('portable, and the reason says why', () => {
  const file = 'prebuilds/lora_store-linux-x64/node-napi-v8.node';
  const remedy = "build it with 'npx cmake-js compile' in ";

  test.each<[string, (path: string) => void, string]>([
    ['there is no binary', (path) => rmSync(path), `there is no addon for linux-x64: ${remedy}`],
    // glibc maps such a file, and dies of SIGBUS.
    ['it was cut short', (path) => truncateSync(path, 65_536), ' has 65536 of '],
    ['a byte of it changed', flipMiddle, ' has a SHA-256 that is not in prebuilds/manifest.json: install '],
  ])('%s', async (_, damage, reason) => {
    const project = mkdtempSync(join(scratch, 'damaged-'));
    cpSync(consumer, project, { recursive: true });
    damage(join(project, 'node_modules', manifest.name, file));
    const codec = { kind: 'portable', reason: expect.stringContaining(reason) };
    expect(await outcome(project, [process.execPath])).toEqual(expected(codec));
  });
});

function flipMiddle(path: string): void {
  const content = readFileSync(path);
  const middle = content.length >> 1;
  content[middle] = (content[middle] as number) ^ 1;
  writeFileSync(path, content);
}
