/** What a declaration file exports, by name, through every file that it exports from: as its users may see it. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseSync } from 'vite';

/**
 * @param {string} file A .d.ts.
 * @returns {Map<string, string>} Each declaration with its comment, without what is private.
 */
export function declarationsOf(file) {
  const source = readFileSync(file, 'utf8');
  const { program, comments } = parseSync(file, source);
  /** @type {Map<string, string>} */
  const found = new Map();
  for (const statement of program.body) {
    if (statement.type === 'ExportAllDeclaration') {
      for (const [name, text] of declarationsOf(beside(file, statement.source.value))) found.set(name, text);
    } else if (statement.type === 'ExportNamedDeclaration' && statement.source) {
      const others = declarationsOf(beside(file, statement.source.value));
      for (const { local, exported } of statement.specifiers)
        found.set(nameOf(exported), others.get(nameOf(local)) ?? '');
    } else if (statement.type === 'ExportNamedDeclaration' && statement.declaration) {
      const { declaration } = statement;
      const comment = comments.filter(
        (c) => c.end < statement.start && source.slice(c.end, statement.start).trim() === '',
      );
      const begin = comment[0]?.start ?? statement.start;
      const text = source.slice(begin, statement.start) + withoutPrivate(source, declaration);
      const name = 'id' in declaration ? declaration.id : declaration.declarations[0]?.id;
      found.set(nameOf(name), laidOut(text.trim()));
    }
  }
  return found;
}

/** The declaration from its keyword on: `export declare` says nothing on a page of exports. */
function withoutPrivate(/** @type {string} */ source, /** @type {any} */ declaration) {
  let text = '';
  let at = declaration.start;
  for (const member of declaration.body?.body ?? []) {
    if (member.accessibility !== 'private' && member.key?.type !== 'PrivateIdentifier') continue;
    text += source.slice(at, member.start).trimEnd();
    at = member.end;
  }
  return (text + source.slice(at, declaration.end)).replace(/^declare /, '');
}

/** With our indentation, and a line between members that have a comment. */
function laidOut(/** @type {string} */ text) {
  const indented = text.replace(/^(?: {4})+/gm, (spaces) => ' '.repeat(spaces.length / 2));
  return indented.replace(/(?<=[;}])\n(?= *\/\*\*)/g, '\n\n');
}

function beside(/** @type {string} */ file, /** @type {string} */ specifier) {
  return join(dirname(file), specifier.replace(/\.js$/, '.d.ts'));
}

function nameOf(/** @type {any} */ node) {
  return node.name ?? node.value;
}
