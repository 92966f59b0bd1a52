/**
 * Clocks that differ. Staleness is measured on a monotonic clock and does not care; but revisions are microseconds of the
 * clock of Postgres, so that after a failover to a server that is behind they may be given twice, and Redis ends entries by
 * its own.
 */
import { CLOCK } from '../statements/doctor.js';
import { ok, type Patient, type Verdict, warning } from './finding.js';
import { answer, ofRedis } from './redis-answers.js';

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

export async function redisClock(patient: Patient): Promise<Verdict> {
  return await ofRedis(async ({ client }) => {
    try {
      // As above.
      await answer(client.time());
    } catch (error) {
      // No node asks for it, and docs/redis.acl does not permit it.
      if (!(error as Error).message.startsWith('NOPERM')) throw error;
      return ok('not looked at: this user may not ask for TIME, nor does any node');
    }
    return await compare(patient.now, async () => {
      const [seconds, micros] = await answer(client.time());
      return Number(seconds) * 1000 + Number(micros) / 1000;
    });
  })(patient);
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
