/** What the reading of pages promises: a block that is wrong cannot pass for one that is right. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { namesOf, partToRun } from './elsewhere.js';
import { type Block, blocksOf, printsAs, promisedOutput } from './page.js';
import { createProject, type Project } from './project.js';
import { runners } from './runners.js';
import { perform as performOn, type Stage } from './stages.js';

let project: Project;

beforeAll(async () => {
  project = await createProject('empty');
});

afterAll(() => project?.remove());

const fence = '```';
const block = (language: string, code: string): Block => ({
  page: 'a.md',
  line: 1,
  language,
  info: '',
  code,
  prose: '',
});

test('finds blocks in lists, blocks that hold fences, and what stands before each', () => {
  const page = `# A\n\n${fence}js\n1;\n${fence}\n- it prints:\n\n  ${fence}text file\n  one\n    two\n  ${fence}\n~~~~sh\n${fence}\n~~~\n~~~~\n`;
  expect(blocksOf('a.md', page)).toEqual([
    { page: 'a.md', line: 3, language: 'js', info: '', code: '1;\n', prose: '# A\n' },
    { page: 'a.md', line: 8, language: 'text', info: 'file', code: 'one\n  two\n', prose: '- it prints:\n' },
    { page: 'a.md', line: 12, language: 'sh', info: '', code: '```\n~~~\n', prose: '' },
  ]);
  expect(() => blocksOf('a.md', `\n${fence}js\n1;\n`)).toThrow('a.md:2: this block is never closed');
});

test('output is promised by comments of a program, or by the words after it', () => {
  const [program, words] = [
    block('js', 'console.log(1); // 1\nf(); // no output\nconsole.log({ a }); // { a: 2 }\n'),
    block('text', '3\n'),
  ];
  expect(promisedOutput(program, words)).toBe('1\n{ a: 2 }\n');
  expect(promisedOutput(block('sh', 'echo 3'), words)).toBe('3\n');
  expect(promisedOutput(block('sh', 'echo 3'), { ...words, prose: 'which prints:\n' })).toBe('3\n');
  for (const prose of ['A layout.', '## Next\n\nIt holds:']) {
    expect(promisedOutput(block('sh', 'echo 3'), { ...words, prose })).toBeUndefined();
  }
  expect(promisedOutput(block('sh', 'echo 3'), undefined)).toBeUndefined();
});

test('what differs from run to run is left open, and nothing else', () => {
  expect(printsAs('a … c\n…\nd\n', 'a b b c\n1\n2\nd\n')).toBe(true);
  expect(printsAs('a … c\n', 'a b\nb c\n')).toBe(false);
  expect(printsAs('version: 1\n', 'version: 1\nversion: 2\n')).toBe(false);
  expect(printsAs('a.c\n', 'abc\n')).toBe(false);
});

test('of commands only those in the list are left out, and no block is left that holds nothing else', () => {
  expect(namesOf(block('sh', 'npm cit   # all tests\n'))).toContain('npm cit');
  expect(partToRun(block('sh', 'npm cit   # all tests\n\n# words\n'))).toBeUndefined();
  expect(partToRun(block('sh', 'npm cit\nnpm cit --anything\n'))?.code).toBe('npm cit --anything\n');
  const list = [{ shown: 'deploy', because: 'it takes a cluster', test: 'none' }];
  expect(partToRun(block('sh', 'true\ndeploy  # all\n'), list)?.code).toBe('true\n');
});

test('on a stage a block is at the servers of the test, goes on, and comes to its end, or is an error', async () => {
  let stopped = 0;
  const stage: Stage = {
    ...{ page: 'a.md', shown: 'there', goesOn: "console.log('it works');" },
    start: async () => ({ instead: { "'there'": "'here'" }, env: { WHO: '$&' }, stop: async () => stopped++ }),
  };
  const perform = (code: string) => performOn(stage, block('js', code), project);
  expect(await perform(`console.log('there', process.env.WHO);`)).toBe('here $&\nit works\n');
  expect(await perform(`const where = 'there';\n// …\nprocess.exit(0);`)).toBe('it works\n');
  await expect(perform(`console.log('elsewhere');`)).rejects.toThrow("the block does not have: 'there'");
  await expect(perform(`console.log('there');\nprocess.exit(0);`)).rejects.toThrow('it did not come to its end: here');
  await expect(perform(`throw new Error('there' + 1);`)).rejects.toThrow('here1');
  expect(stopped).toBe(5);
});

test.each([
  ['js', 'throw new TypeError("no");', 'TypeError: no'],
  ['js', 'console.error("careful");', 'it complains: careful'],
  ['js', 'import "lora-store/nothing";', 'ERR_PACKAGE_PATH_NOT_EXPORTED'],
  ['ts', 'import { codec } from "lora-store";\nconst kind: number = codec.kind;', 'not assignable'],
  ['ts', 'throw new TypeError("no");', 'TypeError: no'],
  ['sh', 'false\ntrue', 'it ended with 1'],
  ['sh', 'echo "$NOTHING"', 'NOTHING: unbound variable'],
  ['sh', 'npx --no left-pad@1.3.0', 'it ended with 1'],
  ['sql', 'select 1;\nselect nothing;\nselect 2;', 'column "nothing" does not exist'],
  ['json', '{ "a": 1, }', 'JSON'],
])('%s that fails is a failure: %s', async (language, code, why) => {
  await expect(runners[language]?.(block(language, code), project)).rejects.toThrow(why);
});

test('a part of a program finds its storage open, and may be wrong as well', async () => {
  const migrated = await createProject('migrated');
  try {
    const run = (code: string) => runners.js?.({ ...block('js', code), info: 'storage' }, migrated);
    expect(await run('console.log(await storage.countAdapters("7c9e6679-7425-40de-944b-e07fc1f90ae7"));')).toBe('0\n');
    await expect(run('await storage.countAdapter("");')).rejects.toThrow('storage.countAdapter is not a function');
  } finally {
    await migrated.remove();
  }
});

test.each([
  ['js', 'import { codec } from "lora-store";\nimport "pg";\nconsole.log(typeof codec.kind);', 'string\n'],
  ['ts', 'import type { Tier } from "lora-store";\nconst tier: Tier = "redis";\nconsole.log(tier);', 'redis\n'],
  ['sh', 'npx lora-store --help | grep -c "^Usage: lora-store"', '1\n'],
  ['sql', 'create table t (a int);\nselect count(*) from t;', 'CREATE TABLE\n count \n-------\n     0\n(1 row)\n\n'],
])('%s prints what it prints', async (language, code, output) => {
  expect(await runners[language]?.(block(language, code), project)).toBe(output);
});
