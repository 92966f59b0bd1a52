/** Nodes that are broken on purpose (broken.mjs): a short run, and the checker has to see what they do. */
import { expect, test } from 'vitest';
import type { ViolationKind } from './checker.js';
import { chaos } from './support.js';

// The first takes faults at the right moment; the others show at once.
test.each<[string, ViolationKind[], string, number]>([
  ['fence', ['stale read', 'resurrected delete'], 'nothing keeps older readings out', 15_000],
  ['lose', ['lost save'], 'a save disappears after it was acknowledged', 5000],
  ['mix', ['cross-user read'], "another user's adapter is answered", 5000],
])(
  '%s: %j is seen where %s',
  async (broken, kinds, _, durationMs) => {
    const { verdict } = await chaos({ seed: 4, durationMs, broken });
    const seen = new Set(verdict.violations.map(({ kind }) => kind));
    expect([...seen]).toEqual(expect.arrayContaining(kinds));
  },
  240_000,
);
