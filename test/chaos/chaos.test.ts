/**
 * Eighty seconds of the chaos run (docs/reliability.md): no promise is broken, and enough went on for that to mean something.
 * LORA_STORE_CHAOS_SEED chooses another plan, LORA_STORE_CHAOS_MINUTES another length.
 */
import { expect, test } from 'vitest';
import { faultKinds } from './faults.js';
import { summary } from './report.js';
import { chaos } from './support.js';

const seed = Number(process.env.LORA_STORE_CHAOS_SEED ?? 5);
const durationMs = Number(process.env.LORA_STORE_CHAOS_MINUTES ?? 4 / 3) * 60_000;

test(
  `seed ${seed}: four nodes keep every promise while everything fails`,
  async () => {
    const result = await chaos({ seed, durationMs });
    const { reads, writes, faults, unavailable } = summary(result);
    expect(result.verdict.violations.map(({ kind, what }) => `${kind}: ${what}`)).toEqual([]);
    // A quarter of what two cores with ten times too much to do achieved, and every fault at least once.
    const sum = (of: Record<string, number>) => Object.values(of).reduce((a, b) => a + b, 0);
    expect(sum(reads)).toBeGreaterThan(1000);
    expect(sum(writes)).toBeGreaterThan(160);
    for (const kind of ['save', 'delete', 'deleteVersion', 'rollback', 'foreign insert', 'foreign update'])
      expect(writes, kind).toHaveProperty(kind);
    for (const kind of faultKinds) expect(faults, kind).toHaveProperty(kind);
    expect(unavailable, 'nobody noticed the faults').toBeGreaterThan(0);
    expect(unavailable).toBeLessThan(sum(reads));
  },
  durationMs + 240_000,
);
