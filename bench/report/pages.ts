/** Results and pages on disk: which pages quote the reference, and what they say and ought to say. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Results } from '../harness/results.js';
import { withTables } from './tables.js';

export interface PageWithTables {
  readonly path: string;
  readonly text: string;
  readonly expected: string;
}

export function readResults(path: string): Results {
  const results = JSON.parse(readFileSync(path, 'utf8'));
  if (results.format !== 1) throw new Error(`${path} has format ${results.format}, and this reads format 1`);
  return results;
}

/** Committed with the run that the pages quote; undefined before there was one. */
export function readReference(root: string): Results | undefined {
  const path = join(root, 'bench/results/reference.json');
  return existsSync(path) ? readResults(path) : undefined;
}

export function pagesWithTables(root: string, reference: Results | undefined): PageWithTables[] {
  return ['README.md', 'bench/README.md']
    .map((page) => join(root, page))
    .filter((path) => existsSync(path))
    .map((path) => {
      const text = readFileSync(path, 'utf8');
      return { path, text, expected: withTables(text, reference) };
    });
}
