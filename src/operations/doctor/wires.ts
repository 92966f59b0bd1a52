/** What carries words and bytes between a node and Postgres: the change feed, binary results, and the codec behind them. */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { codec } from '../../adapter/codec.js';
import { DeadlineError, within } from '../../deadline.js';
import { RESULT_FORMAT } from '../statements/doctor.js';
import { failure, ok, type Patient, type Verdict, warning } from './finding.js';
import { LOOK, mendOf } from './mends.js';

const ANSWER_MS = 5000;

/** It takes LISTEN, and hands its connection to somebody else. */
const PAST_POOLER =
  "LoRAStorage.open({ postgres: { primary: process.env.DATABASE_URL, direct: '<the server behind the pooler>' } })";

/** One listens and another tells, on a channel that nobody else knows: no node hears of it, and no floor is raised. */
export async function changeFeed(patient: Patient): Promise<Verdict> {
  const { tables } = patient;
  const channel = `lora_store_doctor_${randomBytes(8).toString('hex')}`;
  const [ear, mouth] = [new pg.Client(tables.config), new pg.Client(tables.config)];
  for (const client of [ear, mouth]) client.on('error', () => undefined);
  try {
    const heard = new Promise((resolve) => ear.once('notification', resolve));
    await within(Promise.all([ear.connect(), mouth.connect()]), ANSWER_MS, 'Postgres');
    await within(ear.query(`listen ${channel}`), ANSWER_MS, 'LISTEN');
    const begun = performance.now();
    await within(mouth.query(`notify ${channel}`), ANSWER_MS, 'NOTIFY');
    await within(heard, ANSWER_MS, 'the word of it');
    return ok(`a word came back in ${(performance.now() - begun).toFixed(1)} ms`);
  } catch (error) {
    return failure(
      `nodes do not hear of writes, so that every load asks Postgres: ${(error as Error).message}`,
      error instanceof DeadlineError ? PAST_POOLER : ((await mendOf(error as Error, patient)) ?? LOOK),
    );
  } finally {
    for (const client of [ear, mouth]) void within(client.end(), 500, 'Postgres').catch(() => undefined);
  }
}

export async function binaryResults({ tables }: Patient): Promise<Verdict> {
  const [[format] = []] = await tables.rows<[string]>(RESULT_FORMAT, []);
  if (format === 'binary') return ok('on: weights come as they are stored');
  return warning(
    'off: weights come as hex, twice the bytes. The pool is not this package’s own, or something between changes bytes',
    'LoRAStorage.open({ postgres: process.env.DATABASE_URL })',
  );
}

export async function codecKind(): Promise<Verdict> {
  const { kind, reason = '', simd } = codec;
  if (kind === 'native') return ok(`native, ${simd}`);
  const asked = reason.includes('LORA_STORE_CODEC');
  return warning(
    `portable, which is slower: ${reason}`,
    asked ? 'unset LORA_STORE_CODEC' : 'npm install --force lora-store # in a clone: npm run compile',
  );
}
