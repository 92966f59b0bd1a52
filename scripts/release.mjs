/**
 * node scripts/release.mjs [TAG]: refuses a release that is not written down. The changelog has a date and lines for the
 * version of package.json, and the tag, where there is one, is that version.
 */
import { readFileSync } from 'node:fs';

const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
const [tag] = process.argv.slice(2);
const changes = readFileSync('CHANGELOG.md', 'utf8').split(/^## /m).slice(1);
const entry = changes.find((text) => text.startsWith(`[${version}] - `));
const problems = [];

if (tag !== undefined && tag !== `v${version}`) problems.push(`the tag is ${tag}, and package.json says ${version}`);
if (entry === undefined) problems.push(`CHANGELOG.md has no heading '## [${version}] - <date>'`);
else if (!/ - \d{4}-\d\d-\d\d\n/.test(entry)) problems.push(`CHANGELOG.md has no date for ${version}: give it one`);
else if (!/^- /m.test(entry)) problems.push(`CHANGELOG.md says nothing of ${version}`);

for (const problem of problems) console.error(`release: ${problem}`);
if (problems.length > 0) process.exitCode = 1;
