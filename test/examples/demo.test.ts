/**
 * `npm start` without a terminal, and with --once: what it shows, on whichever servers, twice, and that nothing is left
 * running.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { type OwnServer, startRedis } from '../support/redis.js';
import { waitFor } from '../support/wait.js';

const program = fileURLToPath(new URL('../../examples/start.js', import.meta.url));
const startsAsRoot = process.getuid?.() === 0;

let scratch: string;
let database: TestDatabase;
let redis: OwnServer;

beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'lora-store-demo-test-'));
  // Open to the account that runs Postgres where the tests run as root.
  chmodSync(scratch, 0o755);
  [database, redis] = await Promise.all([createDatabase({ template: 'empty' }), startRedis()]);
});

afterAll(async () => {
  await Promise.all([database?.drop(), redis?.stop()]);
  rmSync(scratch, { recursive: true, force: true });
});

interface Demo {
  readonly child: ChildProcess;
  /** What it has printed so far. */
  readonly printed: { out: string; err: string };
  /** Exit code, or the signal that ended it. */
  readonly ended: Promise<number | string>;
}

function startDemo(env: NodeJS.ProcessEnv, args: string[] = []): Demo {
  const bare = { ...process.env, DATABASE_URL: undefined, REDIS_URL: undefined };
  const child = spawn(process.execPath, [program, ...args], {
    env: { ...bare, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const printed = { out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (printed.out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (printed.err += text));
  return { child, printed, ended: once(child, 'close').then(([code, signal]) => code ?? signal) };
}

/** Its output, after it ended well. */
async function runDemo(env: NodeJS.ProcessEnv): Promise<string> {
  const { printed, ended } = startDemo(env);
  const code = await ended;
  expect({ code, err: printed.err }).toEqual({ code: 0, err: '' });
  return printed.out;
}

/** The part below a heading. */
function section(out: string, heading: string): string {
  const found = out.split(/\n\n(?=\S)/).find((part) => part.trimStart().startsWith(heading));
  if (found === undefined) throw new Error(`no part '${heading}' in:\n${out}`);
  return found;
}

/** Words of one column of the rows that match. */
function column(text: string, row: RegExp, group = 1): (string | undefined)[] {
  return [...text.matchAll(row)].map((match) => match[group]);
}

/** A directory with the Redis that the tests use and nothing else, if it is a program on this machine. */
function pathWithRedis(): NodeJS.ProcessEnv {
  const { recipe } = inject('servers').redis;
  if (recipe.kind !== 'binary') return { PATH: emptyDirectory() };
  return { PATH: recipe.directory, LD_LIBRARY_PATH: recipe.libraryPath };
}

function emptyDirectory(): string {
  const path = join(scratch, 'empty');
  mkdirSync(path, { recursive: true });
  return path;
}

const RECORD_ROWS = /^ {2}(\S+)\.bin +\d+ +rank.* the same +(\S+( \d+)?)$/gm;
const TIER_ROWS = /^ {2}(?:first load|again|after a restart) +(memory|redis|postgres) +(\d+) .* no +[\d.]+ ms$/gm;
const LATENCY_ROWS = /^ {2}(memory|redis|postgres) +\d+ +[\d.]+ ms +[\d.]+ ms +(?:within|above, on this machine)$/gm;

test('on the servers of two URLs: migrates, shows everything, and goes on from it the second time', async () => {
  const env = { DATABASE_URL: database.url, REDIS_URL: redis.url };
  const first = await runDemo(env);
  expect(first).not.toContain('\u001b');
  expect(section(first, 'Servers')).toContain('applied 001_users, 002_lora_adapters, 003_adapter_heads, 004_checksums');
  expect(section(first, 'Servers')).toMatch(/Redis +\d\S*, named by REDIS_URL/);

  const records = section(first, 'Records that the Rust crate wrote');
  expect(column(records, RECORD_ROWS)).toHaveLength(6);
  expect(column(records, RECORD_ROWS, 2).sort()).toEqual(['InvalidAdapterError', ...Array(5).fill('version 1')]);
  expect(records).toMatch(/wide-16x1024-768\.bin: InvalidAdapterError: trainingIterations .* not 4294967296\./);

  const tiers = section(first, 'One adapter through every tier');
  expect(tiers).toContain('the node heard of it by Postgres NOTIFY');
  expect(column(tiers, TIER_ROWS)).toEqual(['postgres', 'memory', 'redis', 'memory']);
  expect(column(tiers, TIER_ROWS, 2)).toEqual(['1', '1', '1', '1']);

  const versions = section(first, 'Versions, and back');
  expect(versions).toContain('saved version 1, 0 training iterations');
  expect(versions).toContain('saved version 2, 10 training iterations');
  expect(versions).toContain('VersionConflictError: expected version 1 but the latest is 2');
  expect(versions).toContain('version 3 is the latest now and has the weights of version 1');

  const names = section(first, 'Two names a user');
  expect(new Set(column(names, / (production|experimental) +-?\d+\.\d{3}$/gm))).toEqual(
    new Set(['production', 'experimental']),
  );

  const nodes = section(first, 'Two nodes, one adapter');
  expect(nodes).toMatch(/A saved version 2 in .* ms; B heard of it .* ms after that call, by (Redis|Postgres)/);
  expect(nodes).toMatch(/B loads version 2, from (memory|redis|postgres)/);
  expect(nodes).toContain('A deleted 2 versions; B: AdapterNotFoundError');

  expect(column(section(first, 'Loads of a'), LATENCY_ROWS)).toEqual(['memory', 'redis', 'postgres']);

  const second = await runDemo(env);
  expect(section(second, 'Servers')).toContain('schema up to date');
  expect(column(section(second, 'One adapter'), TIER_ROWS)).toEqual(['postgres', 'memory', 'redis', 'memory']);
  expect(section(second, 'Versions')).toContain('version 6 is the latest now and has the weights of version 4');
  expect(section(second, 'Two nodes')).toContain('A saved version 3; B holds version 3 in memory');
});

test('with neither URL: a Postgres of its own, two tiers without a Redis, and nothing left after Ctrl-C', async () => {
  // As root, whoever runs Postgres instead may not enter this, and the demo goes elsewhere.
  const closed = mkdtempSync(join(scratch, 'closed-'));
  const elsewhere = mkdtempSync(join(scratch, 'tmp-'));
  chmodSync(elsewhere, 0o755);
  const own = { LORA_STORE_DEMO_DIR: closed, TMPDIR: elsewhere };

  const out = await runDemo({ ...own, PATH: emptyDirectory() });
  const servers = section(out, 'Servers');
  if (startsAsRoot) {
    expect(servers).toContain('Postgres refuses to run as root');
    expect(servers).toContain(`So the demo keeps its data in ${elsewhere}`);
  }
  const directory = /embedded, in (.+); applied 001_users/.exec(servers)?.[1] ?? '';
  expect(directory.startsWith(startsAsRoot ? elsewhere : closed)).toBe(true);
  expect(servers).toContain('no redis-server on PATH. Two tiers');
  expect(column(section(out, 'One adapter'), TIER_ROWS)).toEqual(['postgres', 'memory', 'postgres', 'memory']);
  expect(section(out, 'Two nodes')).toContain('by Postgres NOTIFY');
  expect(column(section(out, 'Loads of a'), LATENCY_ROWS)).toEqual(['memory', 'postgres']);
  expect(section(out, 'Loads of a')).toMatch(/redis +–.* no Redis/);
  expect(existsSync(join(directory, 'data', 'PG_VERSION'))).toBe(true);
  expect(existsSync(join(directory, 'data', 'postmaster.pid'))).toBe(false);

  const { child, printed, ended } = startDemo({ ...own, ...pathWithRedis() }, ['--once']);
  await waitFor(() => printed.out.includes('Two nodes, one adapter'), { timeoutMs: 40_000 });
  expect(section(printed.out, 'Servers')).toContain('schema up to date');
  expect(existsSync(join(directory, 'data', 'postmaster.pid'))).toBe(true);
  const port = Number(/started here on 127\.0\.0\.1:(\d+)/.exec(printed.out)?.[1]);
  expect(Number.isNaN(port)).toBe(inject('servers').redis.recipe.kind !== 'binary');
  child.kill('SIGINT');
  expect({ code: await ended, err: printed.err }).toEqual({ code: 130, err: '' });
  expect(existsSync(join(directory, 'data', 'postmaster.pid'))).toBe(false);
  if (!Number.isNaN(port)) expect(await isOpen(port)).toBe(false);
});

async function isOpen(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
