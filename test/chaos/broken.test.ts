/** Nodes that are broken on purpose (broken.mjs): a short run, and the checker has to see what they do. */
import { expect, test } from 'vitest';
import type { ViolationKind } from './checker.js';
import { chaos } from './support.js';

test.each<[string, ViolationKind[], string]>([
  ['fence', ['stale read', 'resurrected delete'], 'nothing keeps older readings out'],
  ['lose', ['lost save'], 'a save disappears after it was acknowledged'],
  ['mix', ['cross-user read'], "another user's adapter is answered"],
])(
  '%s: %j is seen where %s',
  async (broken, kinds) => {
    const { verdict } = await chaos({ seed: 4, durationMs: 15_000, broken });
    const seen = new Set(verdict.violations.map(({ kind }) => kind));
    expect([...seen]).toEqual(expect.arrayContaining(kinds));
  },
  240_000,
);
