/** Who holds a lock, and that two never do, in whichever order their steps come. */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import fs from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { type Files, takeLock } from '../../src/operations/lock.js';
import { scratchDirectory } from '../cli/archives.js';
import { waitFor } from '../support/wait.js';

const scratch = scratchDirectory();
let count = 0;
const newPath = () => join(scratch, `lock-${count++}`);

const children: ReturnType<typeof spawn>[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

/** A lock as `change` makes it of the one that this process would have. */
async function lockOf(change: (entry: string) => string): Promise<string> {
  const path = newPath();
  await takeLock(path);
  const [entry = ''] = readdirSync(path);
  renameSync(join(path, entry), join(path, change(entry)));
  return path;
}

/** Of a process that died before this one got its number. */
const dead = (entry: string) => entry.replace(/^(\d+)\.\d+\./, '$1.1.');
const ofProcess = (pid: number | undefined) => (entry: string) =>
  entry.replace(/^\d+\.\d+\./, `${pid}.${startOf(pid)}.`);

/** The 22nd field, where no program's name has spaces. */
const startOf = (pid: number | undefined) => readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ')[21];

test('a lock is held until it is released, and leaves nothing behind', async () => {
  const path = newPath();
  const release = await takeLock(path);
  const who = `another process works on this (process ${process.pid} of ${hostname()})`;
  await expect(takeLock(path)).rejects.toThrow(who);
  expect(readdirSync(scratch).filter((name) => join(scratch, name).startsWith(path))).toEqual([`lock-${count - 1}`]);
  await release();
  expect(existsSync(path)).toBe(false);
  await (await takeLock(path))();
});

test('where the lock would lie there is no directory: an error, and none is made', async () => {
  await expect(takeLock(join(scratch, 'nowhere', 'lock'))).rejects.toThrow('ENOENT');
  expect(existsSync(join(scratch, 'nowhere'))).toBe(false);
});

test('a number that somebody else bears by now, as in a container, where each is number 1, is that of a dead one', async () => {
  const path = await lockOf(dead);
  const release = await takeLock(path);
  expect(readdirSync(path)).toEqual([expect.stringContaining(`${process.pid}.${startOf(process.pid)}.`)]);
  await release();
});

test('a lock of a process that lives is held', async () => {
  await expect(takeLock(await lockOf(ofProcess(process.ppid)))).rejects.toThrow(`process ${process.ppid} of`);
});

test('a process that was killed, and that its parent has not asked after, holds nothing', async () => {
  // The shell becomes a program that waits for nobody.
  const shell = spawn('sh', ['-c', 'sleep 1000 & echo $!; exec sleep 1000'], { stdio: ['ignore', 'pipe', 'ignore'] });
  children.push(shell);
  const pid = Number(await new Promise((resolve) => shell.stdout.once('data', resolve)));
  const path = await lockOf(ofProcess(pid));
  await waitFor(() => readFileSync(`/proc/${shell.pid}/comm`, 'utf8') === 'sleep\n');
  process.kill(pid, 'SIGKILL');
  await waitFor(() => readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z '));
  await (await takeLock(path))();
});

test.each([
  ['of another machine', (entry: string) => dead(entry).replace(/@.*/, '@elsewhere'), /process \d+ of elsewhere\)/],
  ['whose holder could not say since when it lives', (entry: string) => entry.replace(/\.\d+\./, '..'), /process \d+/],
  ['that says nothing we know', () => '.DS_Store', /who left \.DS_Store/],
])('a lock %s is not judged', async (_, change, words) => {
  const path = await lockOf(change);
  await expect(takeLock(path)).rejects.toThrow(words);
  await expect(takeLock(path)).rejects.toThrow(`remove the directory ${path}`);
});

test('what a death between two steps left of a lock is nobody’s', async () => {
  const path = newPath();
  mkdirSync(path);
  await (await takeLock(path))();
});

/** Someone whose every step on files waits until they are told. */
class Stepped {
  release: (() => Promise<void>) | undefined;
  error: Error | undefined;
  #proceed: (() => void) | undefined;
  #arrived = () => {};

  /** Resolves before the first step. */
  async begin(work: (files: Files) => Promise<void>): Promise<this> {
    const arrival = this.#arrival();
    const step =
      <Args extends unknown[], Result>(real: (...args: Args) => Promise<Result>) =>
      async (...args: Args) => {
        await new Promise<void>((resolve) => {
          this.#proceed = resolve;
          this.#arrived();
        });
        return await real(...args);
      };
    const { mkdir } = fs;
    const files = { mkdir, readdir: step(fs.readdir), rename: step(fs.rename), rmdir: step(fs.rmdir) } as Files;
    work(files)
      .catch((error) => {
        this.error = error;
      })
      .finally(() => this.#arrived());
    await arrival;
    return this;
  }

  get waits(): boolean {
    return this.#proceed !== undefined;
  }

  /** Does the step it waits before, and all until the next one. */
  async step(): Promise<void> {
    const [arrival, proceed] = [this.#arrival(), this.#proceed];
    this.#proceed = undefined;
    proceed?.();
    await arrival;
  }

  #arrival(): Promise<void> {
    return new Promise((resolve) => {
      this.#arrived = resolve;
    });
  }
}

const taking = (path: string) => {
  const taker = new Stepped();
  return taker.begin(async (files) => {
    taker.release = await takeLock(path, files);
  });
};

/** Runs two in every order in which their steps can come. Each order is a row of 0 and 1. Resolves with how many there are. */
async function everyOrder(
  two: () => Promise<[Stepped, Stepped]>,
  after: (pair: [Stepped, Stepped], ended: boolean) => Promise<void>,
): Promise<number> {
  for (let [orders, order] = [1, [] as number[]]; ; orders++) {
    const pair = await two();
    const both: number[] = [];
    for (let at = 0; pair[0].waits || pair[1].waits; at++) {
      const choice = pair[0].waits && pair[1].waits;
      order[at] ??= pair[0].waits ? 0 : 1;
      if (choice && order[at] === 0) both.push(at);
      await pair[order[at] as 0 | 1].step();
      await after(pair, false);
    }
    await after(pair, true);
    const last = both.at(-1);
    if (last === undefined) return orders;
    order = [...order.slice(0, last), 1];
  }
}

describe('step by step', () => {
  test('of two who find a dead one’s lock exactly one gets it, and whoever comes once it has finds it held', async () => {
    let path: string;
    const two = async (): Promise<[Stepped, Stepped]> => {
      path = await lockOf(dead);
      return [await taking(path), await taking(path)];
    };
    const orders = await everyOrder(two, async (pair, ended) => {
      const holders = pair.filter(({ release }) => release !== undefined);
      expect(holders.length).toBeLessThan(2);
      if (holders.length === 1) await expect(takeLock(path)).rejects.toThrow('another process works on this');
      if (!ended) return;
      expect(holders).toHaveLength(1);
      expect(pair.map(({ error }) => error?.message ?? '').join('')).toContain('another process works on this');
      expect(readdirSync(path)).toHaveLength(1);
    });
    expect(orders).toBeGreaterThan(100);
  });

  test('who comes while a lock is released is refused, or gets it for themselves alone', async () => {
    let path: string;
    const two = async (): Promise<[Stepped, Stepped]> => {
      path = newPath();
      const leaving = new Stepped();
      await leaving.begin(async (files) => {
        leaving.release = await takeLock(path, files);
        await leaving.release();
      });
      await leaving.step();
      return [leaving, await taking(path)];
    };
    let got = 0;
    const orders = await everyOrder(two, async ([, taker], ended) => {
      if (taker.release !== undefined) await expect(takeLock(path)).rejects.toThrow('another process works on this');
      if (!ended) return;
      if (taker.release === undefined) expect(taker.error?.message).toContain('another process works on this');
      else got++;
      expect(existsSync(path)).toBe(taker.release !== undefined);
    });
    expect(got).toBeGreaterThan(0);
    expect(got).toBeLessThan(orders);
  });
});
