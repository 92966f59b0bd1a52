/** What a load costs that only Postgres can answer, against bare drivers that fetch the bytes and a C program, the limit. */
import assert from 'node:assert/strict';
import { encodeAdapter, LoRAStorage, type UserLoRAAdapter } from 'lora-store';
import type pg from 'pg';
import postgres from 'postgres';
import { isAdapter, savedAdapters, takingTurns } from '../harness/adapters.js';
import { newest, poolOf } from '../harness/bare.js';
import type { Bench, Case } from '../harness/bench.js';
import { type Libpq, startLibpq } from '../harness/libpq.js';
import type { LocalSide, Side } from '../harness/side.js';

const NAME = 'default';
const COUNT = 256;

/** Connections, of each side. */
const CONNECTIONS = 8;

/** Of the storage's: long enough for a busy machine. */
const POSTGRES_TIMEOUT_MS = 20_000;

export default {
  question: 'What does a load from Postgres cost?',
  async run(bench) {
    const { url } = await bench.servers.postgres();
    const [bare, callers] = [poolOf(url, CONNECTIONS), poolOf(url, CONNECTIONS)];
    const options = { memory: false, redis: false, postgresTimeoutMs: POSTGRES_TIMEOUT_MS } as const;
    const own = { connectionString: url, max: CONNECTIONS };
    const binary = await LoRAStorage.open({ ...options, postgres: own, createMissingUsers: true });
    const hex = await LoRAStorage.open({ ...options, postgres: callers });
    const sql = postgres(url, { max: CONNECTIONS });
    let libpq: Libpq | string = 'not started';
    try {
      bench.doing(`saving ${COUNT} adapters`);
      const adapters = await savedAdapters(binary, COUNT);
      const users = adapters.map(({ userId }) => userId);
      libpq = await startLibpq(url, users);
      if (typeof libpq === 'string') bench.note(`Without the C program over libpq: ${libpq}.`);
      else bench.version('libpq', libpq.version);
      await bare.query('analyze');
      // Anew for each contest: whose turn it is goes on from one to the next.
      const sides = () => sidesOf({ binary, hex, bare, sql }, adapters);
      await oneByOne(bench, sides(), libpq, encodeAdapter(adapters[0] as UserLoRAAdapter));
      await together(bench, sides());
    } finally {
      if (typeof libpq !== 'string') libpq.stop();
      await Promise.all([binary.close(), hex.close(), bare.end(), sql.end()]);
      await callers.end();
    }
    bench.note(
      'The bare sides fetch the newest row and do nothing with its bytes; loadAdapter also reads the head and the stamp, checks and decodes.',
    );
    bench.note(
      'pg and postgres (porsager) get bytea as hex, twice the bytes, as does a storage over a Pool of its caller’s.',
    );
    bench.note(
      'libpq: one thread that waits in recv and shares the machine with nothing of its own; no pool, no timeout.',
    );
  },
} satisfies Case;

interface Ways {
  readonly binary: LoRAStorage;
  readonly hex: LoRAStorage;
  readonly bare: pg.Pool;
  readonly sql: postgres.Sql;
}

function sidesOf({ binary, hex, bare, sql }: Ways, adapters: readonly UserLoRAAdapter[]): LocalSide[] {
  const users = adapters.map(({ userId }) => userId);
  const [first] = adapters as [UserLoRAAdapter];
  const check = isAdapter(first);
  const record = encodeAdapter(first);
  const same = (bytes: Buffer) => assert.deepEqual(bytes, record);
  return [
    {
      name: 'pg select 1',
      run: async () => (await bare.query<{ one: number }>({ name: 'one', text: 'select 1 as one' })).rows[0]?.one,
      check: (answer: number) => assert.equal(answer, 1),
    },
    { name: 'loadAdapter', run: takingTurns(users, (user) => binary.loadAdapter(user, NAME)), check },
    {
      name: 'pg, hex',
      run: takingTurns(
        users,
        async (user) => (await bare.query<{ weights: Buffer }>(newest(user, NAME))).rows[0]?.weights,
      ),
      check: same,
    },
    { name: 'loadAdapter, hex', run: takingTurns(users, (user) => hex.loadAdapter(user, NAME)), check },
    {
      name: 'postgres (porsager), hex',
      run: takingTurns(users, async (user) => {
        const [row] = await sql<{ weights: Buffer }[]>`select weights from lora_adapters
          where user_id = ${user} and adapter_name = ${NAME} order by version desc limit 1`;
        return row?.weights;
      }),
      check: same,
    },
  ];
}

async function oneByOne(
  bench: Bench,
  local: readonly LocalSide[],
  libpq: Libpq | string,
  first: Buffer,
): Promise<void> {
  const limit = 'libpq, binary';
  const sides: Side[] = [...local];
  if (typeof libpq !== 'string') sides.splice(2, 0, libpq.side(limit, first));
  const { ratio } = await bench.compare({
    group: 'one load at a time',
    sides,
    seconds: 0.55 * bench.secondsLeft,
    sliceMs: 100,
  });
  bench.target('Postgres load / bare pg (hex), p50', '<=', 0.62, ratio('loadAdapter', 'pg, hex', 'p50'));
  const [value, why] = typeof libpq === 'string' ? [null, libpq] : [ratio('loadAdapter', limit, 'p50')];
  bench.target('Postgres load / libpq C client with binary results, p50', '<=', 1.6, value, why);
  for (const other of ['postgres (porsager), hex', 'pg select 1']) ratio('loadAdapter', other, 'p50');
  ratio('loadAdapter, hex', 'pg, hex', 'p50');
  ratio('loadAdapter', 'pg, hex', 'p99');
  bench.note('The first targets were 0.70 of bare pg and 2.0 of libpq.');
}

async function together(bench: Bench, local: readonly LocalSide[]): Promise<void> {
  const sides = local.map((side) => ({ ...side, name: `${side.name}, ${CONNECTIONS} at once` }));
  const { ratio } = await bench.compare({
    group: `${CONNECTIONS} loads at a time`,
    sides,
    seconds: 0.85 * bench.secondsLeft,
    concurrency: CONNECTIONS,
    sliceMs: 100,
  });
  const [ours, bare] = [`loadAdapter, ${CONNECTIONS} at once`, `pg, hex, ${CONNECTIONS} at once`];
  const value = ratio(ours, bare, 'perSecond');
  bench.target(`Postgres loads per second / bare pg (hex), ${CONNECTIONS} connections`, '>=', 1.9, value);
  ratio(`loadAdapter, hex, ${CONNECTIONS} at once`, bare, 'perSecond');
  ratio(ours, `postgres (porsager), hex, ${CONNECTIONS} at once`, 'perSecond');
  bench.note(`The first target of loads per second with ${CONNECTIONS} connections was 1.7 times bare pg.`);
}
