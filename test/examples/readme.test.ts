/** The examples of the README, as they stand there. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase();
});

afterAll(() => database?.drop());

const examples = [...readFileSync(`${root}/README.md`, 'utf8').matchAll(/## (.*)\n\n```js\n([\s\S]*?)```/g)];

test('there are two of them', () => {
  expect(examples.map(([, title]) => title)).toEqual(['Ten lines', 'Training, ranking, A/B tests']);
});

test.each(examples.map(([, title = '', example = '']) => [title, example]))(
  '%s: it runs and prints what it says',
  async (_, example) => {
    const [, promised] = /console\.log\(.*\); \/\/ (.*)/.exec(example) ?? [];
    const env = { ...process.env, DATABASE_URL: database.url, REDIS_URL: '' };
    // Run where the project is, which imports itself by name.
    const args = ['--input-type=module', '--eval', example];
    const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { cwd: root, env });
    expect({ stdout, stderr }).toEqual({ stdout: `${promised}\n`, stderr: '' });
  },
);
