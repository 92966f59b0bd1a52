/** How a block is run, by its language: each runner says what is wrong with the block, and what it printed. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../support/root.js';
import type { Block } from './page.js';
import type { Outcome, Project } from './project.js';

export type Run = (block: Block, project: Project) => Promise<string>;

/** Languages by the one name that pages use for each. */
export const runners: Readonly<Record<string, Run>> = {
  js: runModule,
  ts: checkAndRun,
  sh: runCommands,
  sql: runSql,
  json: parse,
};

/** A module of the reader's: it ends by itself, and complains of nothing. */
async function runModule(block: Block, project: Project): Promise<string> {
  const file = `block-${block.line}.mjs`;
  writeFileSync(join(project.directory, file), whole(block));
  return printed(await project.run(process.execPath, [file]), { quiet: true });
}

/** What a strict program may say, compiled as its author would, and then run. */
async function checkAndRun(block: Block, project: Project): Promise<string> {
  const name = `block-${block.line}`;
  writeFileSync(join(project.directory, `${name}.mts`), whole(block));
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const strict = ['--strict', '--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess', '--skipLibCheck'];
  const target = ['--module', 'nodenext', '--target', 'es2023', '--lib', 'es2023,esnext.disposable', '--types', 'node'];
  const compiled = await project.run(process.execPath, [tsc, ...strict, ...target, `${name}.mts`]);
  if (compiled.ended !== 0) throw new Error(`it does not compile: ${compiled.stdout}${compiled.stderr}`);
  return printed(await project.run(process.execPath, [`${name}.mjs`]), { quiet: true });
}

/** `js storage` is a part of a program, which has opened a storage before and closes it afterwards. */
function whole({ info, code }: Block): string {
  if (info !== 'storage') return code;
  const opening = `import { LoRAStorage as Opened } from 'lora-store';\nconst storage = await Opened.open();\n`;
  return `${opening}${code}\nawait storage.close();\n`;
}

/** Up to the first command that fails. --norc: with a socket as its input bash takes itself for a remote shell's. */
async function runCommands({ code }: Block, project: Project): Promise<string> {
  return printed(await project.run('bash', ['--norc', '-euo', 'pipefail', '-c', code]));
}

/** As psql shows it. */
async function runSql({ code, line }: Block, project: Project): Promise<string> {
  const file = `block-${line}.sql`;
  writeFileSync(join(project.directory, file), code);
  return printed(await project.run('bash', ['--norc', '-c', `psql -X -v ON_ERROR_STOP=1 -f ${file} "$DATABASE_URL"`]));
}

async function parse({ code }: Block): Promise<string> {
  JSON.parse(code);
  return '';
}

function printed({ ended, stdout, stderr }: Outcome, { quiet = false } = {}): string {
  if (ended !== 0) throw new Error(`it ended with ${ended}: ${stderr || stdout}`);
  if (quiet && stderr !== '') throw new Error(`it complains: ${stderr}`);
  return stdout;
}
