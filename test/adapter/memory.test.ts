/** Memory that decoded adapters take is V8's to count and the system's to have back: nothing piles up behind the garbage collector. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const run = promisify(execFile);

/**
 * glibc gives the end of its heap back to the system with every sweep and faults it in again: where the system is itself
 * a guest whose host is short of memory, a fault was seen to take 100 µs, and a decode with it.
 */
const LEAVE_THE_HEAP = { MALLOC_TRIM_THRESHOLD_: `${64 * 2 ** 20}` };

/** What a process of its own prints, as JSON; `bytes` is the record of an adapter of the default shape. */
async function inProcess<Result>(codec: string, script: string, settings: NodeJS.ProcessEnv = {}): Promise<Result> {
  const program = `import { decodeAdapter, encodeAdapter, UserLoRAAdapter } from 'lora-store';
    const bytes = encodeAdapter(new UserLoRAAdapter('00000000-0000-4000-8000-000000000001').initializeRandom(1));
    ${script}`;
  const args = ['--expose-gc', '--input-type=module', '-e', program];
  const env = { ...process.env, LORA_STORE_CODEC: codec, ...settings };
  const { stdout } = await run(process.execPath, args, { env });
  return JSON.parse(stdout) as Result;
}

test.each([
  ['native', 100_000, {}],
  ['native', 1_000_000, LEAVE_THE_HEAP],
  ['portable', 100_000, {}],
])(
  '%s: %i adapters, decoded and dropped, leave the process as large as the first tenth of them %o',
  { timeout: 300_000 },
  async (codec, count, settings) => {
    // No turn of the event loop between them: whatever waits for one to give memory back would show.
    const rss = await inProcess<number[]>(
      codec,
      `const rss = [];
     for (let i = 1; i <= ${count}; i++) {
       decodeAdapter(bytes);
       if (i % ${count / 10} === 0) rss.push(process.memoryUsage().rss);
     }
     console.log(JSON.stringify(rss));`,
      settings,
    );
    expect(rss).toHaveLength(10);
    expect(Math.max(...rss)).toBeLessThan((rss[0] ?? 0) + 64 * 2 ** 20);
  },
);

test.each(['native', 'portable'])('%s: V8 knows what live records take, and that they are gone', async (codec) => {
  const [before = 0, live = 0, after = 0] = await inProcess<number[]>(
    codec,
    `const arrayBuffers = () => (gc(), gc(), process.memoryUsage().arrayBuffers);
     const before = arrayBuffers();
     let kept = Array.from({ length: 1000 }, () => decodeAdapter(bytes));
     const live = arrayBuffers();
     kept.length = 0;
     console.log(JSON.stringify([before, live, arrayBuffers()]));`,
  );
  expect(live - before).toBeGreaterThan(0.95 * 1000 * 41_052);
  expect(live - before).toBeLessThan(1.05 * 1000 * 41_052);
  expect(after - before).toBeLessThan(0.05 * 1000 * 41_052);
});
