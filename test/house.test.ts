/** What the house promises about its own walls: who may import whom, and that the project stands alone. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Files beside the rooms that everybody may import, and that import only each other. */
const leaves = ['errors', 'options', 'deadline'];

/** A file imports from its own room and from those listed below it. */
const rooms = [
  'index',
  'cli',
  'operations',
  'telemetry',
  'sona',
  'storage',
  'tiers',
  'coherence',
  'postgres',
  'adapter',
  'leaf',
];

/** Names and suffixes that .gitignore lists: what somebody makes here and nobody commits. */
const ignored = readFileSync(join(root, '.gitignore'), 'utf8')
  .split('\n')
  .map((line) => line.trim().replace(/^\/|\/$/g, ''))
  .filter((line) => line !== '' && !line.startsWith('#'));

function isIgnored(name: string): boolean {
  return (
    name === '.git' || ignored.some((entry) => (entry.startsWith('*') ? name.endsWith(entry.slice(1)) : name === entry))
  );
}

/** Everything that is committed here or would be. Asks no git: a copy of the project without its history passes too. */
function projectFiles(directory = ''): string[] {
  return readdirSync(join(root, directory), { withFileTypes: true })
    .filter(({ name }) => !isIgnored(name))
    .flatMap((entry) => {
      const path = join(directory, entry.name);
      return entry.isDirectory() ? projectFiles(path) : [path];
    });
}

function read(file: string): string {
  return readFileSync(join(root, file), 'utf8');
}

/** The room of a path below src/, whichever its suffix. */
function roomOf(path: string): string {
  const [room = ''] = path.replace(/\.[jt]s$/, '').split(sep);
  return leaves.includes(room) ? 'leaf' : room;
}

/** Specifiers of imports and re-exports, types included, and of import() and import types. */
function importsOf(source: string): string[] {
  const code = source.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '');
  const statements = /^\s*(?:import|export)\b(?:[^'";]*?\bfrom)?\s*['"]([^'"]+)['"]/gm;
  const expressions = /\bimport\s*\(\s*['"]([^'"]+)['"]/g;
  return [...code.matchAll(statements), ...code.matchAll(expressions)].map(([, specifier]) => specifier ?? '');
}

/** What breaks the rule in a file of src/, in words. */
function violations(file: string, source: string): string[] {
  const place = rooms.indexOf(roomOf(file));
  if (place < 0) return [`${file} lies in no room of the house`];
  return importsOf(source).flatMap((specifier) => {
    if (!specifier.startsWith('.')) return [];
    const target = normalize(join(dirname(file), specifier));
    const below = rooms.indexOf(roomOf(target));
    return below >= place ? [] : [`${file} imports ${target}, which is ${below < 0 ? 'outside src' : 'above it'}`];
  });
}

test('the reading of imports finds every form, and no comment', () => {
  const source = [
    `import './a.js';`,
    `import type {\n  B,\n} from './b.js';`,
    `export * from "./c.js";`,
    `type D = import('./d.js').D;`,
    `const e = await import('./e.js');`,
    `import pg, { type Pool } from 'pg';`,
    `// import './not.js';`,
    `/* import './nor.js'; */`,
    `const words = "from './nothing.js'";`,
  ].join('\n');
  expect(importsOf(source).sort()).toEqual(['./a.js', './b.js', './c.js', './d.js', './e.js', 'pg']);
});

test('the rule lets a file look down and into its own room, never up', () => {
  expect(violations('tiers/redis.ts', `import '../coherence/head.js'; import './entry.js';`)).toEqual([]);
  expect(violations('tiers/redis.ts', `import '../options.js';\nimport '../errors.js';`)).toEqual([]);
  expect(violations('index.ts', `export * from './storage/lora-storage.js';`)).toEqual([]);
  expect(violations('adapter/codec.ts', `import '../tiers/redis.js';`)).toEqual([
    'adapter/codec.ts imports tiers/redis.js, which is above it',
  ]);
  expect(violations('adapter/codec.ts', `import '../../test/support/wait.js';`)).toHaveLength(1);
  expect(violations('helpers/misc.ts', '')).toEqual(['helpers/misc.ts lies in no room of the house']);
});

test('every file of src imports only from the rooms below its own', () => {
  const files = projectFiles('src').filter((file) => file.endsWith('.ts'));
  expect(files.length).toBeGreaterThan(0);
  const broken = files.flatMap((file) => violations(file.slice('src/'.length), read(file)));
  expect(broken).toEqual([]);
});

test('no file refers to a place outside the project', () => {
  // Written in pieces, so that this file does not find itself.
  const places = [
    ['sha', 'red/'],
    ['/wo', 'rk/'],
    ['/ro', 'ot/'],
    ['/ho', 'me/'],
  ].map((pieces) => pieces.join(''));
  const outside = new RegExp(`(?<![\\w@$.:/-])(?:\\.\\./)*(?:${places.join('|')})`);
  const text = projectFiles().filter((file) => /(\.(ts|mjs|js|md|json|sql|cc|h|txt|sh|yml|yaml)|run)$/.test(file));
  const guilty = text
    .filter((file) => file !== 'package-lock.json')
    .flatMap((file) => {
      const lines = read(file).split('\n');
      return lines.flatMap((line, index) => (outside.test(line) ? [`${file}:${index + 1}: ${line.trim()}`] : []));
    });
  expect(guilty).toEqual([]);
});

test('every file that a page names is there', () => {
  const pages = projectFiles().filter((file) => /^(docs\/)?[^/]+\.md$/.test(file));
  const named = pages.flatMap((page) =>
    [...read(page).matchAll(/`((?:src|test|native|migrations|examples|scripts)\/[\w./-]+\.\w+)`/g)].map(
      ([, path]) => path ?? '',
    ),
  );
  expect(named.length).toBeGreaterThan(30);
  expect(named.filter((path) => !existsSync(join(root, path)))).toEqual([]);
});
