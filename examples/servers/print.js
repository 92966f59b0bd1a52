// @ts-check
/** Aligned output; colours only on a terminal that wants them (NO_COLOR and FORCE_COLOR are heard). */
import { styleText } from 'node:util';

const colours = process.stdout.isTTY && process.stdout.hasColors();

/** @param {string} text */
export function heading(text) {
  console.log(`\n${colours ? styleText('bold', text) : text}`);
}

/** @param {string[]} lines */
export function say(...lines) {
  for (const line of lines) console.log(line === '' ? '' : `  ${line}`);
}

/**
 * Columns as wide as their widest cell; numbers to the right.
 * @param {string[]} titles None: rows only.
 * @param {(string | number)[][]} rows
 */
export function table(titles, rows) {
  const cells = rows.map((row) => row.map(String));
  const all = titles.length === 0 ? cells : [titles, ...cells];
  const widths = (all[0] ?? []).map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  const numeric = widths.map((_, column) => cells.every((row) => /^([\d,.]+( ms)?|–)$/.test(row[column] ?? '')));
  for (const [index, row] of all.entries()) {
    const padded = row.map((cell, column) =>
      numeric[column] ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
    );
    const line = `  ${padded.join('   ')}`.trimEnd();
    console.log(colours && index === 0 && titles.length > 0 ? styleText('dim', line) : line);
  }
}

/** @param {number} value */
export function ms(value) {
  return `${value.toFixed(value < 10 ? 3 : 0)} ms`;
}
