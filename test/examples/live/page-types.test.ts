/** The script of the live page by the compiler, strictly, against what the server sends it and what a browser and uPlot have. */
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, expect, test } from 'vitest';
import { root } from '../../support/root.js';

const execute = promisify(execFile);
const directory = join(root, '.cache/page');
const tsc = join(root, 'node_modules/typescript/bin/tsc');
const html = readFileSync(join(root, 'examples/live/page.html'), 'utf8');

const tsconfig = {
  extends: '../../tsconfig.json',
  compilerOptions: {
    rootDir: '../..',
    // So that './state.js' is found from here as from the page.
    rootDirs: ['.', '../../examples/live'],
    lib: ['ES2023', 'ESNext.Disposable', 'DOM', 'DOM.Iterable'],
    allowJs: true,
    checkJs: true,
    noUncheckedIndexedAccess: false,
    // It is a script of its own, and uPlot a global of another.
    moduleDetection: 'force',
    allowUmdGlobalAccess: true,
  },
  include: ['page.js'],
  files: ['../../node_modules/uplot/dist/uPlot.d.ts'],
};

beforeAll(() => {
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify(tsconfig));
});

/** What the compiler says of a script, at the lines of page.html. */
async function complaints(change: (script: string) => string = (script) => script): Promise<string[]> {
  const [, before = '', script = ''] = /^([\s\S]*<script>)([\s\S]*)<\/script>/.exec(html) ?? [];
  expect(script.length).toBeGreaterThan(5000);
  writeFileSync(join(directory, 'page.js'), '\n'.repeat(before.split('\n').length - 1) + change(script));
  const { stdout } = await execute(process.execPath, [tsc, '-p', directory]).catch((error) => error);
  return stdout.split('\n').filter((line: string) => line.includes('error'));
}

test('the script of the page has no type error', async () => {
  expect(await complaints()).toEqual([]);
});

test('what the server does not send, or a browser does not have, is one', async () => {
  const line = html.slice(0, html.indexOf('snapshot.redis]')).split('\n').length;
  expect(await complaints((script) => script.replace('snapshot.redis]', 'snapshot.rediss]'))).toContainEqual(
    expect.stringMatching(new RegExp(`page\\.js\\(${line},.*'rediss' does not exist on type`)),
  );
  expect(await complaints((script) => script.replace('row.remove()', 'row.removed()'))).toEqual([
    expect.stringContaining("'removed' does not exist on type 'HTMLElement'"),
  ]);
});
