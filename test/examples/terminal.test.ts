/**
 * `npm start` in a terminal, which `script` of util-linux makes: the live page, or the demo where --once asks for it.
 * Without a terminal: demo.test.ts.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { request } from 'node:http';
import { stripVTControlCharacters } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { redisNamespace, redisUrl } from '../support/redis.js';
import { root } from '../support/root.js';
import { waitFor } from '../support/wait.js';

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase();
});

afterAll(() => database?.drop());

interface Terminal {
  /** What it shows, without colours. */
  readonly shown: string;
  /** Presses Ctrl-C; resolves with the exit code. */
  interrupt(): Promise<number | null>;
}

async function inTerminal(command: string, use: (terminal: Terminal) => Promise<void>): Promise<void> {
  const place = { DATABASE_URL: database.url, REDIS_URL: redisUrl(), LORA_STORE_NAMESPACE: redisNamespace() };
  const child: ChildProcess = spawn('script', ['--quiet', '--return', '--flush', '--command', command, '/dev/null'], {
    cwd: root,
    // npm asks for news of itself where there is a terminal.
    env: { ...process.env, ...place, npm_config_update_notifier: 'false' },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = once(child, 'close') as Promise<[number | null]>;
  let said = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (said += text));
  const interrupt = async () => {
    child.stdin?.write('\u0003');
    return (await ended)[0];
  };
  try {
    await use({
      get shown() {
        return stripVTControlCharacters(said).replaceAll('\r', '');
      },
      interrupt,
    });
  } finally {
    if (child.exitCode === null) await interrupt();
  }
}

/** Presses a button as the page does, and returns the line it would show. */
async function press(url: string, action: string): Promise<string> {
  const headers = { origin: url, 'content-type': 'application/json' };
  const body = JSON.stringify({ node: 'A', user: '00000000-0000-4000-8000-000000000201' });
  const sent = request(`${url}/actions/${action}`, { method: 'POST', headers }).end(body);
  const [response] = await once(sent, 'response');
  return JSON.parse((await response.setEncoding('utf8').toArray()).join('')).text;
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

test('the live page, which cuts Redis for 5 s unless told otherwise, until Ctrl-C', async () => {
  await inTerminal('npm start', async (terminal) => {
    const url = await waitFor(() => /The live page: (\S+)\n/.exec(terminal.shown)?.[1], { timeoutMs: 60_000 });
    expect(await press(url, 'cut')).toBe('Redis is cut for 5 s. Loads go on from memory and Postgres.');
    const nodes = [...terminal.shown.matchAll(/Node [AB] +\S+, process (\d+)\n/g)].map(([, pid]) => Number(pid));
    expect(nodes.map(isRunning)).toEqual([true, true]);
    expect(await terminal.interrupt()).toBe(130);
    expect(nodes.map(isRunning)).toEqual([false, false]);
    await expect(fetch(url)).rejects.toThrow();
  });
});

test('with --once the demo', async () => {
  await inTerminal('npm start -- --once', async (terminal) => {
    await waitFor(() => terminal.shown.includes('\nOne adapter through every tier\n'), { timeoutMs: 60_000 });
    expect(terminal.shown).not.toContain('The live page');
    expect(await terminal.interrupt()).toBe(130);
  });
});
