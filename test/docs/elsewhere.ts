/**
 * What pages show and this machine does not run as it stands there: why not, and the test that shows it. An entry is one
 * command of a shell, or a page for all its blocks that are no commands; one that no page uses is an error.
 */
import { PEER } from '../../src/postgres/embedded/binaries.js';
import type { Block } from './page.js';

export interface Elsewhere {
  readonly shown: string;
  readonly because: string;
  readonly test: string;
}

const tools = 'is for a clone of the project, not for a project that uses the package';

export const elsewhere: readonly Elsewhere[] = [
  {
    shown: 'docs/api.md',
    because: 'its blocks are declarations, without what they declare',
    test: 'test/docs/api.test.ts',
  },
  {
    shown: 'npm ci && npm start',
    because: 'it installs the clone that it runs in',
    test: 'test/examples/terminal.test.ts',
  },
  { shown: 'npm cit', because: 'it runs this test', test: '.ci/run' },
  { shown: 'npm install lora-store', because: 'it asks a registry', test: 'test/package.test.ts' },
  {
    shown: `npm install ${PEER}`,
    because: 'it asks a registry',
    test: 'test/postgres/embedded/binaries.test.ts',
  },
  { shown: 'npx cmake-js compile', because: tools, test: '.ci/run' },
  { shown: 'npm run prebuild', because: tools, test: 'test/package/prebuilt.test.ts' },
  { shown: 'npm run prebuild -- linux-x64 linux-arm64-musl', because: tools, test: 'test/package/prebuilt.test.ts' },
  { shown: 'npm run sanitize', because: tools, test: '.ci/run' },
  { shown: 'npm run sanitize -- --seconds 10', because: tools, test: '.ci/run' },
  { shown: 'npm run sanitize -- fuzz --seconds 600 half', because: tools, test: '.ci/run' },
  { shown: 'npm run sanitize -- fuzz --runs 10000000 decode', because: tools, test: '.ci/run' },
  { shown: 'npm run bench:scale', because: tools, test: 'test/bench/scale.test.ts' },
  { shown: 'npm run bench:scale -- --quick', because: tools, test: 'test/bench/scale.test.ts' },
  { shown: 'npm run chaos -- --minutes 5 --seed 11', because: tools, test: 'test/chaos/chaos.test.ts' },
];

/** What of a block could stand in the list. */
export function namesOf({ page, language, code }: Block): string[] {
  return language === 'sh' ? code.split('\n').map(commandOf) : [page];
}

/** The block without what is listed; undefined where no code is left. */
export function partToRun(block: Block, list: readonly Elsewhere[] = elsewhere): Block | undefined {
  const listed = (name: string) => list.some(({ shown }) => shown === name);
  const names = namesOf(block);
  if (block.language !== 'sh') return names.some(listed) ? undefined : block;
  const lines = block.code.split('\n').filter((line) => !listed(commandOf(line)));
  return lines.some((line) => commandOf(line) !== '') ? { ...block, code: lines.join('\n') } : undefined;
}

function commandOf(line: string): string {
  return line.replace(/(^|\s+)#.*$/, '').trim();
}
