/** What a codec made of some bytes, a record or the reason why not, to be compared a million times and told once. */
import type { AdapterRecord } from '../../src/adapter/record.js';
import { AdapterCorruptError } from '../../src/errors.js';

export type Outcome<Answer = AdapterRecord> = Answer | AdapterCorruptError;

/** Any error that does not say what is wrong with the bytes passes through. */
export function outcome<Answer>(decode: () => Answer): Outcome<Answer> {
  try {
    return decode();
  } catch (error) {
    if (error instanceof AdapterCorruptError) return error;
    throw error;
  }
}

export function sameRefusal(a: AdapterCorruptError, b: unknown): boolean {
  return b instanceof AdapterCorruptError && a.reason === b.reason && a.offset === b.offset;
}

export function sameOutcome(a: Outcome, b: Outcome): boolean {
  if (a instanceof AdapterCorruptError) return sameRefusal(a, b);
  if (b instanceof AdapterCorruptError) return false;
  return (
    a.rank === b.rank &&
    a.inputDim === b.inputDim &&
    a.outputDim === b.outputDim &&
    Object.is(a.scalingFactor, b.scalingFactor) &&
    a.trainingIterations === b.trainingIterations &&
    a.userId === b.userId &&
    a.rounded === b.rounded &&
    a.bytes.equals(b.bytes) &&
    // Views into the bytes, so that equal places are equal weights.
    samePlace(a, b, 'base') &&
    samePlace(a, b, 'user')
  );
}

export function outcomeInWords(outcome: Outcome): string {
  if (outcome instanceof AdapterCorruptError) return `${outcome.reason} at ${outcome.offset}`;
  const { bytes, base, user, ...facts } = outcome;
  return `record ${JSON.stringify(facts)} ${bytes.toString('hex')}`;
}

function samePlace(a: AdapterRecord, b: AdapterRecord, layer: 'base' | 'user'): boolean {
  return a[layer].length === b[layer].length && placeOf(a, layer) === placeOf(b, layer);
}

function placeOf(record: AdapterRecord, layer: 'base' | 'user'): number {
  const { buffer, byteOffset } = record[layer];
  return buffer === record.bytes.buffer ? byteOffset - record.bytes.byteOffset : Number.NaN;
}
