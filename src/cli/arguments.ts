/** Arguments and options as commander hands them over, read into what they mean. */
import { InvalidArgumentError } from 'commander';
import { parseUserId } from '../adapter/user-id.js';

/** The last of an integer column, as versions are numbered, and of a timer in milliseconds. */
const LAST = 2 ** 31 - 1;

/** A whole number from 1. */
export function wholeNumber(text: string): number {
  return wholeWithin(1, LAST, text);
}

/** As a timer can wait. */
export function seconds(text: string): number {
  return wholeWithin(1, Math.floor(LAST / 1000), text);
}

export function wholeWithin(first: number, last: number, text: string): number {
  if (/^[1-9]\d*$/.test(text) && Number(text) >= first && Number(text) <= last) return Number(text);
  throw new InvalidArgumentError(`It must be a whole number from ${first} to ${last}.`);
}

const DAYS = { m: 1 / 1440, h: 1 / 24, d: 1, w: 7, y: 365.25 };

/** '90d' in days; also m, h, w, y. */
export function days(text: string): number {
  const [, count, unit] = /^(\d{1,6}(?:\.\d{1,6})?)([mhdwy])$/.exec(text) ?? [];
  if (unit !== undefined) return Number(count) * DAYS[unit as keyof typeof DAYS];
  throw new InvalidArgumentError("It must be a number with a unit, such as '90d': m, h, d, w or y.");
}

/** Of a module in a model. */
export function moduleName(text: string): string {
  // With nothing behind what PEFT puts before it there would be a tensor without a name.
  if (/^(base_model\.model\.)?$/.test(text)) throw new InvalidArgumentError('It must not be empty.');
  return text;
}

/** A share of a whole: above 0, up to 1. */
export function share(text: string): number {
  const value = /^\d*\.?\d+$/.test(text) ? Number(text) : 0;
  if (value > 0 && value <= 1) return value;
  throw new InvalidArgumentError('It must be a share above 0, up to 1, such as 0.01.');
}

/** A user id in its canonical form. */
export function userId(text: string): string {
  try {
    return parseUserId(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}
