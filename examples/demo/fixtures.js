// @ts-check
/** The records that the Rust crate bincode wrote, and what it says of them. */
import { readFileSync } from 'node:fs';

const directory = new URL('../../test/fixtures/bincode/', import.meta.url);

/** @typedef {{ file: string, userId: string, rank: number, inputDim: number, outputDim: number, trainingIterations: number }} Fixture */

/** @type {Fixture[]} */
export const fixtures = JSON.parse(readFileSync(new URL('manifest.json', directory), 'utf8')).vectors;

/** @param {string} file */
export function recordOf(file) {
  return readFileSync(new URL(file, directory));
}

/** @param {string} file */
export function userOf(file) {
  const fixture = fixtures.find((candidate) => candidate.file === file);
  if (fixture === undefined) throw new Error(`no fixture ${file}`);
  return fixture.userId;
}
