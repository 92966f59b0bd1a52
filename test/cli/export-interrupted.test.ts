/** `lora-store export` and `import` in the middle: interrupted, killed, cut off, at once, and with more than fits into memory. */
import { once } from 'node:events';
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { startProxy } from '../support/proxy.js';
import { withClient } from '../support/template.js';
import { contents, holdReaders, scratchDirectory, seed, someoneWaits, start, user } from './archives.js';
import { lora, loraJson } from './support.js';

const scratch = scratchDirectory();
const at = (name: string) => join(scratch, name);
const opened: TestDatabase[] = [];

async function database(seeds: Parameters<typeof seed>[1] = []): Promise<TestDatabase> {
  const made = await createDatabase();
  opened.push(made);
  await withClient(made.url, (client) => seed(client, seeds));
  return made;
}

afterAll(async () => {
  for (const made of opened) await made.drop();
});

const MB = 1024 * 1024;
/** Pages of one each, for moments in between. */
const LARGE = [1, 2, 3, 4].map((n) => ({ userId: user(n), bytes: 4.5 * MB }));

test.each(['.tar', '.tar.gz', ''])(
  'interrupted, killed and torn, an export to %j goes on to the same archive',
  async (suffix) => {
    const large = await database(LARGE);
    const target = at(`resumed${suffix}`);
    const state = () => JSON.parse(readFileSync(`${target}.partial.json`, 'utf8'));
    const running = () => start(['export', target], { DATABASE_URL: large.url });

    // Ctrl-C while the first page is awaited: nothing more is begun.
    const release = await holdReaders(large.url);
    const interrupted = running();
    await someoneWaits(large.url);
    const rival = await lora(['export', target, '--postgres', large.url]);
    expect([rival.code, rival.stderr]).toEqual([1, expect.stringContaining('another process')]);
    interrupted.process.kill('SIGINT');
    await release();
    expect(await interrupted.ended).toEqual({ code: 130, stderr: expect.stringContaining('goes on from there') });
    expect([state().versions, existsSync(target)]).toEqual([0, false]);

    // Killed while the second page is awaited: whoever wants to hold the readers back stands in line behind the first.
    const releaseFirst = await holdReaders(large.url);
    const killed = running();
    await someoneWaits(large.url);
    const holding = holdReaders(large.url);
    await someoneWaits(large.url, 2);
    await releaseFirst();
    const releaseSecond = await holding;
    await someoneWaits(large.url);
    expect(state().versions).toBe(1);
    killed.process.kill('SIGKILL');
    await killed.ended;
    await releaseSecond();

    const other = await lora(['export', target, '--latest', '--postgres', large.url]);
    expect([other.code, other.stderr]).toEqual([1, expect.stringContaining('begun with other options')]);
    if (suffix !== '') appendFileSync(`${target}.partial`, 'half a page');
    // Not five: the first page is not read again.
    expect(await loraJson(['export', target, '--postgres', large.url])).toMatchObject({ versions: 4 });

    const to = await database();
    expect(await loraJson(['import', target, '--create-users', '--postgres', to.url])).toMatchObject({
      imported: 4,
      problems: 0,
    });
    expect(await contents(to.url)).toEqual(await contents(large.url));
  },
);

test('a server that goes away in the middle leaves a beginning, and the exit code 3', async () => {
  const large = await database(LARGE);
  const target = at('cut.tar');
  const proxy = await startProxy(Number(new URL(large.url).port), new URL(large.url).hostname);
  try {
    const release = await holdReaders(large.url);
    const running = start(['export', target], { DATABASE_URL: proxy.url(large.url) });
    await someoneWaits(large.url);
    proxy.cutAfter(7 * MB);
    await release();
    expect(await running.ended).toEqual({ code: 3, stderr: expect.stringContaining('1 versions are in') });
  } finally {
    await proxy.close();
  }
  expect(await loraJson(['export', target, '--postgres', large.url])).toMatchObject({ versions: 4 });
});

test('Ctrl-C while the reader of stdout takes its time ends with 130, and not with a whole archive', async () => {
  const large = await database(LARGE);
  const running = start(['export', '-'], { DATABASE_URL: large.url });
  const stdout = running.process.stdout as NodeJS.ReadableStream;
  await once(stdout, 'readable'); // a pipe holds less than a page: the process waits for us
  running.process.kill('SIGINT');
  let bytes = 0;
  for await (const chunk of stdout) bytes += chunk.length;
  expect((await running.ended).code).toBe(130);
  expect(bytes).toBeLessThan(2 * 4.6 * MB);
});

test('neither way takes more memory for more adapters', async () => {
  const many = await database([{ userId: user(1), bytes: 40_000 }]);
  await withClient(many.url, (client) =>
    client.query(
      `insert into lora_adapters (user_id, adapter_name, version, weights, size_bytes)
       select user_id, adapter_name, n, weights, size_bytes from lora_adapters, generate_series(2, 4000) n`,
    ),
  );
  const report = 'process.on("exit", () => console.error("peak", process.resourceUsage().maxRSS))';
  const node = ['--max-old-space-size=48', '--import', `data:text/javascript,${encodeURIComponent(report)}`];
  const to = await database();
  for (const [args, url] of [
    [['export', at('many.tar')], many.url],
    [['import', at('many.tar'), '--create-users'], to.url],
  ] as const) {
    const { code, stderr } = await start(args, { DATABASE_URL: url }, node).ended;
    expect([code, stderr]).toEqual([0, expect.stringMatching(/peak \d+\n$/)]);
    // 160 MB of adapters went through.
    expect(Number(/peak (\d+)/.exec(stderr)?.[1])).toBeLessThan(200_000);
  }
}, 180_000);
