/**
 * npm run prebuild [-- [--out DIRECTORY] TARGET...]: the addon for every platform below, or for those named, into
 * prebuilds/ where pkg-prebuilds looks for it, with a manifest that src/adapter/prebuilt.ts holds it to. What is compiled,
 * and how, is for CMakeLists.txt to say; needs cmake, make, and the npm registry the first time. The same sources give the
 * same bytes, wherever they lie.
 */
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { run, zig, zigVersion } from './zig.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const require = createRequire(import.meta.url);
const nodeApi = require('node-api-headers');
const { getPrebuildName } = require('pkg-prebuilds/lib/prebuild.js');
const { name, napi_versions } = require('../native/binding-options.cjs');

/** The oldest systems that Node 20 runs on. */
const targets = {
  'linux-x64': { triple: 'x86_64-linux-gnu.2.28' },
  'linux-arm64': { triple: 'aarch64-linux-gnu.2.28' },
  'linux-x64-musl': { triple: 'x86_64-linux-musl' },
  'linux-arm64-musl': { triple: 'aarch64-linux-musl' },
  'darwin-x64': { triple: 'x86_64-macos.11.0' },
  'darwin-arm64': { triple: 'aarch64-macos.11.0' },
  'win32-x64': { triple: 'x86_64-windows-gnu' },
};

/** What CMake has to know of each, which links against a Node that is not there. Nothing keeps its debugger's names. */
const systems = {
  linux: { CMAKE_SYSTEM_NAME: 'Linux', CMAKE_SHARED_LINKER_FLAGS: '-s' },
  darwin: {
    CMAKE_SYSTEM_NAME: 'Darwin',
    CMAKE_SHARED_LINKER_FLAGS: '-s -Wl,-x -undefined dynamic_lookup',
    // The library's own name for itself: the directory of this build without these.
    CMAKE_BUILD_WITH_INSTALL_NAME_DIR: 'ON',
    CMAKE_INSTALL_NAME_DIR: '@rpath',
    // Apple's own, which nothing here needs.
    CMAKE_INSTALL_NAME_TOOL: 'true',
    CMAKE_OSX_SYSROOT: '',
  },
  win32: { CMAKE_SYSTEM_NAME: 'Windows', CMAKE_SHARED_LINKER_FLAGS: '-s' },
};

const { values, positionals } = parseArgs({ options: { out: { type: 'string' } }, allowPositionals: true });
const out = resolve(values.out ?? join(root, 'prebuilds'));
const wanted = positionals.length > 0 ? positionals : Object.keys(targets);
const unknown = wanted.filter((target) => !(target in targets));
if (unknown.length > 0)
  throw new Error(`no such target: ${unknown.join(', ')}; there are ${Object.keys(targets).join(', ')}`);

rmSync(out, { recursive: true, force: true });
const binaries = wanted.map(build);
const manifest = { toolchain: `zig ${zigVersion}`, binaries };
writeFileSync(join(out, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`);

/** @param {string} target */
function build(target) {
  const [platform, arch, libc] = target.split('-');
  const file = getPrebuildName({ name, platform, arch, libc, runtime: 'node', napi_version: napi_versions[0] });
  mkdirSync(dirname(join(out, file)), { recursive: true });
  compile(platform, targets[target].triple, join(out, file));
  const content = readFileSync(join(out, file));
  const binary = { target, file, bytes: content.length, sha256: createHash('sha256').update(content).digest('hex') };
  console.log(`${binary.sha256}  ${binary.bytes} bytes  ${target}`);
  return binary;
}

/**
 * @param {string} platform
 * @param {string} triple
 * @param {string} to
 */
function compile(platform, triple, to) {
  const work = mkdtempSync(join(tmpdir(), 'lora-store-prebuild-'));
  try {
    const settings = {
      ...systems[platform],
      CMAKE_BUILD_TYPE: 'Release',
      CMAKE_SYSTEM_PROCESSOR: triple.split('-')[0],
      CMAKE_CXX_COMPILER: `${zig()};c++`,
      CMAKE_CXX_COMPILER_TARGET: triple,
      CMAKE_TRY_COMPILE_TARGET_TYPE: 'STATIC_LIBRARY',
      // As cmake-js would say it, were it to build for another machine.
      CMAKE_JS_INC: [nodeApi.include_dir, dirname(require.resolve('node-addon-api'))].join(';'),
      CMAKE_JS_LIB: platform === 'win32' ? importLibrary(work) : '',
    };
    run('cmake', ['-S', root, '-B', work, ...Object.entries(settings).map(([key, value]) => `-D${key}=${value}`)]);
    run('cmake', ['--build', work, '--parallel', `${availableParallelism()}`]);
    copyFileSync(join(work, `${name}.node`), to);
  } finally {
    if (!process.env.KEEP) rmSync(work, { recursive: true, force: true });
  }
}

/** @param {string} directory */
function importLibrary(directory) {
  const library = join(directory, 'node.lib');
  run(zig(), ['dlltool', '-m', 'i386:x86-64', '-d', nodeApi.def_paths.node_api_def, '-l', library]);
  return library;
}
