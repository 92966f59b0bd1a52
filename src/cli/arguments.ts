/** Arguments and options as commander hands them over, read into what they mean. */
import { InvalidArgumentError } from 'commander';
import { parseUserId } from '../adapter/user-id.js';

/** A whole number from 1. */
export function wholeNumber(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a whole number from 1.');
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
