/** Numbers as people read them: three digits, and the unit in which they are neither tiny nor huge. */
import type { Axis, TargetResult } from '../harness/results.js';

export type Format = (value: number) => string;

/** Of microseconds: '280 ns', '1.2 µs', '4.57 ms'. */
export const duration: Format = scaledBy([
  [1e6, 's'],
  [1e3, 'ms'],
  [1, 'µs'],
  [1e-3, 'ns'],
]);

/** Decimal, as the ticks of an axis are. */
export const bytes: Format = scaledBy([
  [1e9, 'GB'],
  [1e6, 'MB'],
  [1e3, 'kB'],
  [1, 'B'],
]);

/** '12', '1.2k', '3.4M'. */
export const count: Format = (value) => brief(scaled(value)).replace(noBreakSpace, '');
const scaled = scaledBy([
  [1e9, 'G'],
  [1e6, 'M'],
  [1e3, 'k'],
  [1, ''],
]);

/** For round numbers, as those of ticks: '10 µs' instead of '10.0 µs'. */
export function brief(text: string): string {
  return text.replace(/\.0+(?!\d)|(?<=\.\d*[1-9])0+(?!\d)/, '');
}

/** '0.031', '0.31', '1.07', '12.4', '345'. */
export const ratio: Format = (value) => {
  if (value >= 100) return String(Math.round(value));
  return value >= 10 ? value.toFixed(1) : value.toFixed(value < 0.1 ? 3 : 2);
};

/** What the label of an axis says of its unit, and the label without it: the numbers then name it. */
export function axisUnit({ label }: Axis): { readonly label: string; readonly format: Format } {
  const time = /^(.+?),? in (ns|µs|us|ms|s|seconds)$/.exec(label);
  if (time) {
    const microseconds = inMicroseconds[time[2] ?? ''] ?? 1;
    return { label: time[1] ?? label, format: (value) => duration(value * microseconds) };
  }
  if (/\bbytes$/i.test(label)) return { label: label.replace(/,? in bytes$/i, ''), format: bytes };
  return { label, format: count };
}

/** '≤ 0.35'. */
export function bound({ relation, bound }: TargetResult): string {
  return `${{ '<=': '≤', '>=': '≥', '<': '<' }[relation]}${noBreakSpace}${bound}`;
}

const noBreakSpace = '\u00a0';

const inMicroseconds: Readonly<Record<string, number>> = { ns: 1e-3, µs: 1, us: 1, ms: 1e3, s: 1e6, seconds: 1e6 };

/** Largest unit first. */
function scaledBy(units: readonly (readonly [size: number, name: string])[]): Format {
  return (value) => {
    if (value === 0) return '0';
    // Half a digit early, or 999.9 would be written as '1000' of the smaller unit.
    const [size, name] = units.find(([size]) => Math.abs(value) >= size * 0.9995) ?? units.at(-1) ?? [1, ''];
    return `${digits(value / size)}${noBreakSpace}${name}`.trimEnd();
  };
}

function digits(value: number): string {
  return Math.abs(value) >= 1000 ? String(Math.round(value)) : value.toPrecision(3);
}
