/** `lora-store doctor`: how it tells, and its exit codes; what it finds is tested in test/operations/doctor.test.ts. */
import { expect, test } from 'vitest';
import { holdHeads, waitingSessions } from '../storage/faults/support.js';
import { startRedis } from '../support/redis.js';
import { useStorage } from '../support/storage.js';
import { waitFor } from '../support/wait.js';
import { lora, loraJson, startLora } from './support.js';

const bench = useStorage();

interface Finding {
  name: string;
  level: string;
  found: string;
  mend?: string;
}

test('a line a check, what mends it below, and exit code 1 for a failure, or with --strict for a warning', async () => {
  const env = { DATABASE_URL: bench.postgresUrl, LORA_STORE_CODEC: 'portable' };
  const well = await lora(['doctor'], env);
  expect(well.code).toBe(0);
  expect(well.stdout).toMatch(/^ok +schema +that of this version/m);
  expect(well.stdout).toMatch(/^warning +codec +portable.*asks for it$/m);
  expect(well.stdout).toMatch(/^codec:\n {2}unset LORA_STORE_CODEC$/m);
  expect(well.stdout).toMatch(/\d+ ok, \d+ warnings, 0 failures\n$/);
  expect((await lora(['doctor', '--strict'], env)).code).toBe(1);

  await bench.sql('drop trigger lora_adapters_settle_delete on lora_adapters');
  const ill = await lora(['doctor'], env);
  expect([ill.code, ill.stdout]).toEqual([1, expect.stringMatching(/^failure +schema/m)]);
  const findings = await loraJson<Finding[]>(['doctor'], env);
  expect(findings.find(({ name }) => name === 'schema')).toMatchObject({ level: 'failure', mend: expect.any(String) });
});

test('Ctrl-C in the middle of a check that waits', async () => {
  const heads = await holdHeads(bench.postgresUrl);
  const running = startLora(['doctor'], { DATABASE_URL: bench.postgresUrl });
  await waitFor(async () => (await waitingSessions(bench)) > 0, { what: 'a check to wait for the heads' });
  running.interrupt();
  const { code, stdout, stderr } = await running.ended;
  expect([code, stdout, stderr]).toEqual([130, '', expect.stringMatching(/lora-store: interrupted\n$/)]);
  await heads.release();
});

test('a database without any schema is examined, too', async () => {
  await bench.sql('drop table lora_adapter_heads, lora_adapters, lora_store_migrations, users cascade');
  const { code, stdout } = await lora(['doctor'], { DATABASE_URL: bench.postgresUrl });
  expect(code).toBe(1);
  expect(stdout).toMatch(/^failure +schema +.*without table/m);
  expect(stdout).toMatch(/^schema, rights, indexes, .*:\n {2}npx lora-store migrate up$/m);
  expect(stdout).toMatch(/^ok +change feed/m);
});

test('a Redis that is stopped, or away: what is wrong, and once what to look at', async () => {
  const server = await startRedis();
  const env = { DATABASE_URL: bench.postgresUrl, REDIS_URL: server.url };
  try {
    await server.pause();
    const stopped = await lora(['doctor'], env);
    expect(stopped.stdout).toMatch(
      /^failure +redis version +could not be checked: cannot reach Redis at 127\.0\.0\.1:\d+: it is connected, and did not answer within 1000 ms: it is busy, stopped, or/m,
    );
    expect(stopped.stdout.match(/did not answer/g)).toHaveLength(1);
    expect(stopped.stdout).toMatch(/^redis version, .*, redis clock:\n {2}redis-cli -u "\$REDIS_URL" --latency$/m);
    await server.resume();
    await server.kill();
    const away = await lora(['doctor'], env);
    expect(away.stdout.match(/ECONNREFUSED/g)).toHaveLength(1);
    expect(away.stdout).toMatch(/^redis version, .*, redis clock:\n {2}redis-cli -u "\$REDIS_URL" ping #/m);
  } finally {
    await server.stop();
  }
});
