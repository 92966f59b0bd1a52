/**
 * The tarball under the eyes of other people's tools, every entry of it whatever there is; what an install brings, and under
 * which licences; and what has to be written down before a release. Asks no registry.
 */
import { execFile } from 'node:child_process';
import { accessSync, constants, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runtimeDependencies } from '../../scripts/docs/dependencies.mjs';
import { bareNpm, copyProject, manifest, pack } from '../support/package.js';
import { root } from '../support/root.js';

const execute = promisify(execFile);

let scratch: string;
let clone: string;
let tarball: string;

beforeAll(async () => {
  scratch = realpathSync(mkdtempSync(join(tmpdir(), 'lora-store-checks-')));
  clone = join(scratch, 'clone');
  copyProject(clone);
  await bareNpm(['run', '--silent', 'prepare'], clone, scratch);
  tarball = await pack(clone, scratch);
});

afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** Exit code and all output of a program of Node's. */
async function node(args: readonly string[], cwd = root): Promise<{ code: number; output: string }> {
  const { code = 0, stdout, stderr } = await execute(process.execPath, args, { cwd }).catch((error) => error);
  return { code, output: stdout + stderr };
}

test('publint has nothing to say, and no suggestion', async () => {
  const bytes = readFileSync(tarball);
  const { messages } = await publint({ pack: { tarball: new Uint8Array(bytes).buffer }, strict: true });
  expect(messages.map((message) => formatMessage(message, manifest))).toEqual([]);
});

test('attw finds the types of every entry right, for modules: require() is not promised', async () => {
  const attw = join(root, 'node_modules/@arethetypeswrong/cli/dist/index.js');
  const { code, output } = await node([
    attw,
    tarball,
    '--profile',
    'esm-only',
    '--no-definitely-typed',
    '--format',
    'ascii',
  ]);
  expect([code, code === 0 ? '' : output]).toEqual([0, '']);
  const entries = Object.keys(manifest.exports).map((name) => join(manifest.name, name));
  expect([...output.matchAll(/^"(.*)"$/gm)].map(([, name]) => name)).toEqual(entries);
});

test('nothing that an install brings runs anything when it is installed', () => {
  const brought = runtimeDependencies(root);
  expect(brought.map(({ name }) => name)).toEqual(expect.arrayContaining(Object.keys(manifest.dependencies)));
  expect(brought.map(({ name }) => name)).not.toContain('vitest');
  expect(brought.filter(({ hasInstallScript }) => hasInstallScript)).toEqual([]);
});

test('pages that follow from what is here do', async () => {
  expect(await node(['scripts/docs.mjs', '--check'])).toEqual({ code: 0, output: '' });
});

test('a licence that is not in the list is no page, but an error', async () => {
  const list = join(clone, 'scripts/docs/licenses.mjs');
  writeFileSync(list, readFileSync(list, 'utf8').replace("'BlueOak-1.0.0', ", ''));
  const { code, output } = await node(['scripts/docs.mjs'], clone);
  expect([code, output]).toEqual([1, expect.stringContaining('licence BlueOak-1.0.0 is not in the list')]);
});

test('what an install costs is told in two lines', async () => {
  const { output } = await node(['scripts/size.mjs']);
  expect(output).toMatch(
    /^package: \d+ kB packed, \d+ kB unpacked, \d+ files, with(out)? prebuilt addons\nruntime dependencies: \d+, counting those of dependencies\n$/,
  );
});

describe('a release', () => {
  const written = '## [1.2.0] - 2030-01-31\n\n### Added\n\n- Something.\n\n## [1.1.0] - 2029-01-31\n\n- Else.\n';

  test.each([
    ['is let go when it is written down', written, 'v1.2.0', ''],
    ['is held without a date', written.replace('2030-01-31', 'Unreleased'), 'v1.2.0', 'no date for 1.2.0'],
    ['is held without a word of what changed', written.replace('- Something.', ''), 'v1.2.0', 'says nothing of 1.2.0'],
    ['is held without a heading', written.replace('[1.2.0]', '[1.3.0]'), 'v1.2.0', "no heading '## [1.2.0] - <date>'"],
    ['is held under another tag', written, 'v1.2.1', 'the tag is v1.2.1, and package.json says 1.2.0'],
  ])('%s', async (_, changelog, tag, problem) => {
    writeFileSync(join(scratch, 'package.json'), '{ "version": "1.2.0" }');
    writeFileSync(join(scratch, 'CHANGELOG.md'), changelog);
    const { code, output } = await node([join(root, 'scripts/release.mjs'), tag], scratch);
    expect([code, output]).toEqual(problem === '' ? [0, ''] : [1, expect.stringContaining(problem)]);
  });

  test('is refused by npm publish unless it is written down and audited', () => {
    expect(manifest.scripts.prepublishOnly.split(' && ')).toEqual(
      expect.arrayContaining(['node scripts/release.mjs', 'npm audit']),
    );
  });
});

test('the workflow runs what a contributor runs', () => {
  const workflow = readFileSync(join(root, '.github/workflows/ci.yml'), 'utf8');
  const commands = [...workflow.matchAll(/- run: (.*)$/gm)].map(([, command = '']) => command);
  expect(commands).toContain('.ci/run');
  accessSync(join(root, '.ci/run'), constants.X_OK);
});
