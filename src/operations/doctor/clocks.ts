/**
 * Clocks that differ. Staleness is measured on a monotonic clock and does not care; but revisions are microseconds of the
 * clock of Postgres, so that after a failover to a server that is behind they may be given twice, and Redis ends entries by
 * its own.
 */
import { CLOCK } from '../statements/doctor.js';
import { ok, type Patient, type Verdict, warning } from './finding.js';

/** What people who run NTP may still see. */
const TOLERANCE_MS = 500;

export async function postgresClock({ tables, now }: Patient): Promise<Verdict> {
  // The first round trip may have to connect.
  await tables.rows(CLOCK, []);
  return await compare(now, async () => {
    const [[theirs = Number.NaN] = []] = await tables.rows<[number]>(CLOCK, []);
    return theirs;
  });
}

export async function redisClock({ cache, now }: Patient): Promise<Verdict> {
  if (cache === undefined) return ok('there is none: two tiers');
  const { client } = await cache();
  return await compare(now, async () => {
    const [seconds, micros] = await client.time();
    return Number(seconds) * 1000 + Number(micros) / 1000;
  });
}

/** Theirs was read somewhere within the round trip: half of it is the doubt. */
async function compare(now: () => number, ask: () => Promise<number>): Promise<Verdict> {
  const before = now();
  const theirs = await ask();
  const half = (now() - before) / 2;
  const skew = theirs - (before + half);
  const found = `${Math.abs(skew).toFixed(0)} ms ${skew < 0 ? 'behind' : 'ahead of'} this machine, give or take ${half.toFixed(1)}`;
  return Math.abs(skew) <= TOLERANCE_MS + half
    ? ok(found)
    : warning(found, 'chronyc makestep # on the machine that is wrong');
}
