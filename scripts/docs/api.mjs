/**
 * docs/api.md: a block that begins with ```ts and names shows the declarations of these names, as the built package has
 * them, with their comments. Below the heading of an entry every export of that entry has its place, and nothing else.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { declarationsOf } from './declarations.mjs';

/**
 * The page with its blocks filled anew.
 * @param {string} page
 * @param {string} root
 */
export function api(page, root) {
  const { name, exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const [before = '', ...sections] = page.split(/^(?=## `)/m);
  const entries = Object.entries(exports).filter(([, { types }]) => types !== undefined);
  const filled = sections.map((section) => {
    const [, heading] = /^## `(.*)`/.exec(section) ?? [];
    const entry = entries.find(([path]) => join(name, path) === heading);
    if (entry === undefined) throw new Error(`docs/api.md: the package has no entry ${heading}`);
    return fill(section, declarationsOf(join(root, entry[1].types)));
  });
  const missing = entries.filter(([path]) => !sections.some((text) => text.startsWith(`## \`${join(name, path)}\``)));
  if (missing.length > 0) throw new Error(`docs/api.md: add '## \`${join(name, missing[0]?.[0] ?? '')}\`'`);
  return [before, ...filled].join('');
}

/**
 * @param {string} section
 * @param {Map<string, string>} declarations
 */
function fill(section, declarations) {
  const left = new Map(declarations);
  const filled = section.replace(/^```ts (.*)\n[\s\S]*?^```$/gm, (_, names) => {
    const texts = names.split(/,? +/).map((/** @type {string} */ name) => {
      const text = left.get(name);
      if (text === undefined) throw new Error(`docs/api.md: ${name} is no export of this entry, or is shown twice`);
      left.delete(name);
      return text;
    });
    return `\`\`\`ts ${names}\n${texts.join('\n\n')}\n\`\`\``;
  });
  if (left.size > 0) throw new Error(`docs/api.md: add a block '\`\`\`ts ${[...left.keys()].join(' ')}' to this entry`);
  return filled;
}
