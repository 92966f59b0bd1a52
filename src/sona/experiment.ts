/** Shares of users for experiments: no table and no state, the same on every node and in every language that has SHA-256. */
import { createHash } from 'node:crypto';
import { parseUserId } from '../adapter/user-id.js';
import { InvalidAdapterError } from '../errors.js';

/**
 * Whether this user is among the `percent` (0 to 100) of users in the experiment: the same user and experiment always land
 * in the same bucket, and a user who is in stays in when percent grows. Two experiments divide users independently.
 *
 * The bucket is the first 32 bits, big-endian, of the SHA-256 of `<experiment>\0<userId>` in UTF-8, the user id in canonical
 * lower case; a user is in if bucket / 2^32 < percent / 100. Throws InvalidAdapterError.
 */
export function inExperiment(userId: string, experiment: string, percent: number): boolean {
  const user = parseUserId(userId);
  if (typeof experiment !== 'string' || experiment === '') {
    throw new InvalidAdapterError('an experiment is a string that is not empty');
  }
  if (typeof percent !== 'number' || !(percent >= 0 && percent <= 100)) {
    throw new InvalidAdapterError(`percent is a number from 0 to 100, not ${String(percent)}`);
  }
  const bucket = createHash('sha256').update(`${experiment}\0${user}`, 'utf8').digest().readUInt32BE(0);
  return bucket / 2 ** 32 < percent / 100;
}
