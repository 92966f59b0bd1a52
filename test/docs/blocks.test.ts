/**
 * README and every page below docs/, block by block as they stand there, each page's in order in one project: what is
 * shown runs, and prints what the page says. A new page is found by itself.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { manifest } from '../support/package.js';
import { root } from '../support/root.js';
import { elsewhere, namesOf, partToRun } from './elsewhere.js';
import { type Block, beginsWithoutTables, blocksOf, printsAs, promisedOutput } from './page.js';
import { createProject, type Project } from './project.js';
import { runners } from './runners.js';
import { perform, stageOf, stages } from './stages.js';

/** Not code: layouts, pictures, output. */
const words = ['', 'text'];

const names = readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' }).map((name) => join('docs', name));
const pages = ['README.md', ...names].filter((name) => name.endsWith('.md')).map(readPage);
const all = pages.flatMap(({ blocks }) => blocks);

function readPage(name: string) {
  const text = readFileSync(join(root, name), 'utf8');
  const blocks = blocksOf(name, text);
  const runnable = blocks.filter(({ language }) => language in runners).filter((block) => partToRun(block));
  return { name, blocks, runnable, template: beginsWithoutTables(text) ? 'empty' : 'migrated' } as const;
}

const place = ({ page, line }: Block) => `${page}:${line}`;

test('every block is in a language that is run, or is not code', () => {
  const strange = all.filter((block) => !words.includes(block.language) && !(block.language in runners));
  expect(strange.filter((block) => partToRun(block)).map((block) => `${place(block)}: ${block.language}`)).toEqual([]);
});

test('what is not code has no command in it', () => {
  const command =
    /^\s*(\$ |(\w+=\S+ )*((npm|npx|psql|curl|select|insert|import|await|const) |node \S+\.m?js)|\w+: \{)/im;
  const unmarked = all.filter((block, index) => {
    const before = all[index - 1];
    const isOutput = before !== undefined && promisedOutput(before, block) === block.code;
    return words.includes(block.language) && !isOutput && command.test(block.code);
  });
  expect(unmarked.map(place)).toEqual([]);
});

test('what is not run here is still on a page, and has a test that is there', () => {
  const shown = new Set(all.flatMap(namesOf));
  expect(elsewhere.filter((entry) => !shown.has(entry.shown) || !existsSync(join(root, entry.test)))).toEqual([]);
  const scripts = elsewhere.flatMap((entry) => /^npm run (\S+)/.exec(entry.shown)?.[1] ?? []);
  expect(scripts.filter((script) => !(script in manifest.scripts))).toEqual([]);
  // Of that page a test makes the blocks that name what they declare, and no other.
  expect(all.filter(({ page, info }) => page === 'docs/api.md' && info === '').map(place)).toEqual([]);
});

test('each stage is for one block', () => {
  const staged = all.filter((block) => partToRun(block)).map(stageOf);
  expect(stages.filter((stage) => staged.filter((one) => one === stage).length !== 1)).toEqual([]);
});

describe.each(pages.filter(({ runnable }) => runnable.length > 0))('$name', ({ blocks, runnable, template }) => {
  let project: Project;

  beforeAll(async () => {
    project = await createProject(template);
  });
  afterAll(() => project?.remove());

  test.each(runnable.map((block) => [`line ${block.line}, ${block.language}`, block] as const))(
    '%s',
    async (_, block) => {
      const stage = stageOf(block);
      if (stage !== undefined) return void (await perform(stage, block, project));
      const stdout = await runners[block.language]?.(partToRun(block) ?? block, project);
      const promised = promisedOutput(block, blocks[blocks.indexOf(block) + 1]);
      if (promised === undefined) return;
      // Where they differ, a failure that shows both whole.
      expect(printsAs(promised, stdout ?? '') ? promised : stdout).toBe(promised);
    },
    // Of a stage there are six servers to start.
    120_000,
  );
});
