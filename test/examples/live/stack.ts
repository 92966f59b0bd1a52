/** The live page of a test file, started as npm start would in a terminal, and a Chromium that notes whatever goes wrong in it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, beforeAll, expect } from 'vitest';
import { openBrowser } from '../../support/browser.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { redisNamespace, redisUrl } from '../../support/redis.js';
import { waitFor } from '../../support/wait.js';

const program = fileURLToPath(new URL('../../../examples/start.js', import.meta.url));
export interface Stack {
  readonly url: string;
  /** Of the two inference servers. */
  readonly nodes: readonly { url: string; pid: number }[];
  /** A page that has had its first frame. */
  open(options?: BrowserContextOptions): Promise<Page>;
  /** What no page may have said so far: words on the console, errors, requests that failed or went elsewhere. */
  readonly complaints: string[];
  /** What the launcher has written to the terminal. */
  readonly printed: string;
  /** As a terminal that is closed does; resolves with its exit code and what it wrote to stderr. */
  end(): Promise<{ code: number | null; err: string }>;
}

export interface LaunchOptions {
  /** Of the launcher, beyond the servers of the tests, which are named by what it is given. */
  readonly env?: (place: { DATABASE_URL: string; REDIS_URL: string }) => NodeJS.ProcessEnv;
  /** In the background, as is the default of npm start. */
  readonly traffic?: boolean;
  /** How long a node that is cut stays so; default 1500: long enough for two nodes to notice. */
  readonly cutMs?: number;
}

/** Call at the top of a test file. */
export function useLivePage({ env = () => ({}), traffic = false, cutMs = 1500 }: LaunchOptions = {}): Stack {
  let database: TestDatabase;
  let browser: Browser;
  let child: ChildProcess;
  let ended: Promise<[number | null]>;
  const printed = { out: '', err: '' };
  const complaints: string[] = [];
  const url = () => /The live page: (\S+)/.exec(printed.out)?.[1] ?? '';
  const end = async () => {
    child.kill('SIGTERM');
    const [code] = await ended;
    return { code, err: printed.err };
  };

  beforeAll(async () => {
    [database, browser] = await Promise.all([createDatabase(), openBrowser()]);
    const place = { DATABASE_URL: database.url, REDIS_URL: redisUrl(), LORA_STORE_NAMESPACE: redisNamespace() };
    const args = [program, '--live', '--cut-ms', String(cutMs), ...(traffic ? [] : ['--no-traffic'])];
    child = spawn(process.execPath, args, {
      env: { ...process.env, LORA_STORE_API_TOKEN: undefined, ...place, ...env(place) },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    ended = once(child, 'exit') as Promise<[number | null]>;
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (printed.out += text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (printed.err += text));
    await waitFor(() => url() || child.exitCode !== null, { timeoutMs: 60_000, what: 'the live page' });
    expect(printed.err).toBe('');
  });
  afterAll(async () => {
    await browser?.close();
    if (child !== undefined) await end();
    await database?.drop();
  });

  return {
    get url() {
      return url();
    },
    get nodes() {
      return [...printed.out.matchAll(/Node [AB] +(\S+), process (\d+)/g)].map(([, at = '', pid]) => ({
        url: at,
        pid: Number(pid),
      }));
    },
    async open(options) {
      const page = await browser.newPage({ viewport: { width: 1280, height: 900 }, ...options });
      listenTo(page, url(), complaints);
      await page.goto(url());
      await page.getByText(/^Live, /).waitFor();
      return page;
    },
    complaints,
    get printed() {
      return printed.out + printed.err;
    },
    end,
  };
}

function listenTo(page: Page, url: string, complaints: string[]): void {
  page.on('console', (message) => complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('request', (request) => request.url().startsWith(url) || complaints.push(request.url()));
  // The feed has no end of its own: closing the page aborts it.
  page.on('requestfailed', (request) => request.url().endsWith('/feed') || complaints.push(request.url()));
  page.on('response', (response) => response.ok() || complaints.push(`${response.status()} ${response.url()}`));
}
