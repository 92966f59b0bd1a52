/** docs/api.md is what the declarations say; and what makes it finds what one could forget, entry by entry. */
import { mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { api } from '../../scripts/docs/api.mjs';
import { root } from '../support/root.js';

const page = readFileSync(join(root, 'docs/api.md'), 'utf8');
let scratch: string;

beforeEach(() => {
  scratch = realpathSync(mkdtempSync(join(tmpdir(), 'lora-store-api-')));
});

afterEach(() => rmSync(scratch, { recursive: true, force: true }));

/** A package of two entries. */
function packageOf(files: Record<string, string>): string {
  const exports = {
    '.': { types: './index.d.ts' },
    './more': { types: './more.d.ts' },
    './package.json': './package.json',
  };
  writeFileSync(join(scratch, 'package.json'), JSON.stringify({ name: 'p', exports }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(scratch, name), text);
  return scratch;
}

const small = {
  'index.d.ts': `export { A as B } from './a.js';\nexport * from './c.js';\n`,
  'a.d.ts': `/** A file. */\nimport x from 'x';\n/** An A. */\nexport declare class A {\n    #private;\n    private constructor();\n    /** One. */\n    one: number;\n    /** Two. */\n    two(): void;\n}\n`,
  'c.d.ts': `export type C = 'c';\nexport interface D {\n    d: C;\n}\n`,
  'more.d.ts': `export declare const e: 1;\nexport declare function f(): void;\n`,
};

test('the page of this package is as its declarations are', () => {
  expect(api(page, root)).toBe(page);
});

test('a block gets the declarations it names, with their comments and without what is private', () => {
  const text = '# P\n\n## `p`\n\nWords.\n\n```ts B C\nold\n```\n\n```ts D\n```\n\n## `p/more`\n\n```ts e f\n```\n';
  expect(api(text, packageOf(small))).toBe(
    [
      '# P\n\n## `p`\n\nWords.\n\n```ts B C',
      '/** An A. */\nclass A {\n  /** One. */\n  one: number;\n\n  /** Two. */\n  two(): void;\n}\n',
      "type C = 'c';\n```\n\n```ts D\ninterface D {\n  d: C;\n}\n```\n",
      '## `p/more`\n\n```ts e f\nconst e: 1;\n\nfunction f(): void;\n```\n',
    ].join('\n'),
  );
});

test.each([
  ['an export without a place', '## `p`\n\n```ts B C\n```\n\n## `p/more`\n\n```ts e f\n```\n', "add a block '```ts D'"],
  [
    'a name that is no export',
    '## `p`\n\n```ts B C D X\n```\n\n## `p/more`\n\n```ts e f\n```\n',
    'X is no export of this entry',
  ],
  [
    'a name shown twice',
    '## `p`\n\n```ts B C D D\n```\n\n## `p/more`\n\n```ts e f\n```\n',
    'D is no export of this entry, or is shown twice',
  ],
  ['an entry without a heading', '## `p`\n\n```ts B C D\n```\n', "add '## `p/more`'"],
  ['a heading without an entry', '## `p/less`\n', 'the package has no entry p/less'],
])('%s is an error', (_, text, problem) => {
  expect(() => api(`# P\n\n${text}`, packageOf(small))).toThrow(problem);
});
