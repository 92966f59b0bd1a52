/**
 * npm run docs: writes the pages, and parts of pages, that follow from what is here. With --check it writes nothing, names
 * those that are not as they would be, and fails.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { api } from './docs/api.mjs';
import { licenses } from './docs/licenses.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

/** @type {Record<string, (page: string) => string | Promise<string>>} Each makes its page from what the page was. */
const pages = {
  'docs/api.md': (page) => api(page, root),
  'docs/licenses.md': () => licenses(root),
};

for (const [file, make] of Object.entries(pages)) {
  const path = `${root}${file}`;
  const before = readFileSync(path, 'utf8');
  const after = await make(before);
  if (after === before) continue;
  if (process.argv.includes('--check')) {
    console.error(`${file} is not what 'npm run docs' makes of it`);
    process.exitCode = 1;
  } else {
    writeFileSync(path, after);
    console.log(`wrote ${file}`);
  }
}
