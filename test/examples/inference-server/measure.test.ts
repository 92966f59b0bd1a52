/** The measurement of examples/inference-server, on a tiny scale: its table has figures, of the loads that were asked for. How fast is for nobody to judge here. */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { afterAll, expect, test } from 'vitest';
import { proxyTo } from '../../storage/faults/support.js';
import { redisUrl } from '../../support/redis.js';
import { useStorage } from '../../support/storage.js';
import { waitFor } from '../../support/wait.js';
import { examples } from './support.js';

const bench = useStorage();
const children: ChildProcess[] = [];

afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
});

const program = (name: string) => fileURLToPath(new URL(`measure/${name}`, examples));
const env = () => ({
  ...process.env,
  DATABASE_URL: bench.postgresUrl,
  REDIS_URL: redisUrl(),
  LORA_STORE_NAMESPACE: bench.namespace,
});

/** With what it writes; `forked`: with a channel to this process. */
function start(name: string, args: string[], { forked = false, place = {} } = {}) {
  const options = { env: { ...env(), ...place }, execArgv: [] };
  const child = forked
    ? fork(program(name), args, { ...options, stdio: ['ignore', 'pipe', 'pipe', 'ipc'] })
    : spawn(process.execPath, [program(name), ...args], { env: options.env, stdio: ['ignore', 'pipe', 'pipe'] });
  children.push(child);
  const said = { out: '', err: '' };
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (said.out += text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (said.err += text));
  const exited = once(child, 'exit').then(([code, signal]) => code ?? signal);
  return { child, said, exited };
}

test('it prints figures of both servers and of none, with the hit rate that was asked for, and leaves nothing behind', async () => {
  const scale = ['--rounds', '1', '--seconds', '1', '--users', '50', '--hit-rate', '0.6'];
  const { child, said } = start('measure.js', scale);
  expect([(await once(child, 'close'))[0], said.err]).toEqual([0, '']);
  const lines = said.out.split('\n').map((line) => line.trim().split(/ {2,}/));
  for (const side of ['lora-store', 'pg for each request', 'no ranking at all: GET /healthz']) {
    const [perSecond = 0, ...latencies] = (lines.find(([words]) => words === side) ?? [])
      .slice(1)
      .map((text) => Number(text.replaceAll(',', '')));
    expect([side, perSecond > 0, latencies.length, latencies.every((ms) => ms >= 0)]).toEqual([side, true, 2, true]);
  }
  expect(said.out).toMatch(/lora-store \/ pg: \d+\.\d\d times as many a second/);
  const [, found, asked] = /([\d.]+) % of the loads found memory, where (\d+) % were to/.exec(said.out) ?? [];
  // Users are drawn by chance, some hundreds of times at the least.
  expect(Number(found)).toBeGreaterThan(50);
  expect(Number(found)).toBeLessThan(70);
  expect(asked).toBe('60');
  expect(await bench.sql('select user_id from lora_adapters')).toEqual([]);
  const redis = new Redis(redisUrl());
  const keys = await redis.keys(`${bench.namespace}*`);
  await redis.quit();
  expect(keys).toEqual([]);
});

test('a scale that is none is refused by name', async () => {
  const { child, said } = start('measure.js', ['--users', 'many']);
  expect((await once(child, 'close'))[0]).toBe(1);
  expect(said.err).toBe('\nmeasure: --rounds, --seconds, --users and --hit-rate are numbers above 0\n');
});

test('one of its servers ends with who forked it, also before it has begun', async () => {
  const begun = start('node.js', ['lora-store', '50', '0.6'], { forked: true });
  await once(begun.child, 'message');
  begun.child.disconnect();
  expect([await begun.exited, begun.said.err]).toEqual([0, '']);

  const proxy = await proxyTo(bench.postgresUrl);
  proxy.delay(100);
  const place = { DATABASE_URL: proxy.url(bench.postgresUrl) };
  const beginning = start('node.js', ['lora-store', '50', '0.6'], { forked: true, place });
  await waitFor(() => proxy.connections > 0);
  beginning.child.disconnect();
  expect([await beginning.exited, beginning.said.err]).toEqual([0, '']);
  await proxy.close();
});

test('one that nobody forked says where it listens, and ends well when it is told to', async () => {
  const { child, said, exited } = start('node.js', ['pg', '50', '0.6']);
  await waitFor(() => said.out.startsWith('http://127.0.0.1:'));
  child.kill('SIGTERM');
  expect([await exited, said.err]).toEqual([0, '']);
});
