/** Every button of the live page, by what it does to the nodes; and the end of the launcher. */
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { waitFor } from '../../support/wait.js';
import { useLivePage } from './stack.js';

const token = 'a-token-for-whoever-asks-the-nodes-too';
const stack = useLivePage({ env: () => ({ LORA_STORE_API_TOKEN: token }) });
const USER = '00000000-0000-4000-8000-000000000201';
let page: Page;

beforeAll(async () => {
  page = await stack.open();
});

afterAll(() => page?.close());

/** Presses, and waits for the words of the result. */
async function press(action: string, words: RegExp): Promise<string> {
  await page.click(`[data-action=${action}]`);
  return await result(words);
}

async function result(words: RegExp): Promise<string> {
  return await waitFor(async () => words.exec((await page.locator('#result').textContent()) ?? '')?.[0], {
    what: String(words),
  });
}

/** The version that each node would serve. */
async function versions(): Promise<number[]> {
  return (await served()).map(({ version }) => version);
}

async function served(): Promise<{ version: number; trainingIterations: number }[]> {
  return await Promise.all(
    stack.nodes.map(async ({ url }) => {
      const headers = { authorization: `Bearer ${token}` };
      const response = await fetch(`${url}/v1/users/${USER}/adapters/default`, { headers });
      return (await response.json()) as { version: number; trainingIterations: number };
    }),
  );
}

/** Pixels of a tier's own colour in its plot. */
function marks(tier: string): Promise<number> {
  return page.evaluate<number>(`(() => {
    const box = document.getElementById('chart-${tier}');
    const canvas = box.querySelector('canvas');
    // Of a copy: reading a canvas twice makes Chromium complain of it.
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', { willReadFrequently: true });
    copy.drawImage(canvas, 0, 0);
    const [r, g, b] = getComputedStyle(box).color.match(/\\d+/g).map(Number);
    const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
    let found = 0;
    for (let i = 0; i < data.length; i += 4) if (data[i] === r && data[i + 1] === g && data[i + 2] === b && data[i + 3] === 255) found++;
    return found;
  })()`);
}

async function partOf(node: string, part: string): Promise<string> {
  return (await page.locator(`[data-part="${node} ${part}"]`).textContent()) ?? '';
}

test('Rank: a ranking from Postgres, then from memory, each with a mark in the histogram of its tier', async () => {
  expect([await marks('postgres'), await marks('memory')]).toEqual([0, 0]);
  expect(await page.locator('#travels li').count()).toBe(0);
  await press('rank', /Ranked 20 titles on node A, by version 1, from postgres/);
  const scores = (await page.locator('#result li span:last-child').allTextContents()).map(Number);
  expect(scores).toHaveLength(5);
  expect(scores).toEqual([...scores].sort((a, b) => b - a));
  await press('rank', /by version 1, from memory/);
  await waitFor(async () => (await marks('postgres')) > 20 && (await marks('memory')) > 20);
});

test('Train: the version goes up, node B hears of it from A, and serves it', async () => {
  expect(await versions()).toEqual([1, 1]);
  await press('train', /Node A trained on 20 events in \d+ ms and saved version 2; loss 0\.\d+ → 0\.\d+/);
  // Before node B is asked: on a machine that is slow enough it would find out by itself, and nothing would be left to tell.
  await page.getByText(/Node A → Node B, user 1, by (Redis|Postgres)/).waitFor();
  await waitFor(async () => (await versions()).join() === '2,2');
});

test('Send: four events wait, and with the third four they are trained on', async () => {
  await press('events', /took 4 events; 4 wait/);
  await press('events', /took 4 events; 8 wait/);
  expect(await versions()).toEqual([2, 2]);
  await press('events', /took 4 events; (12|0) wait/);
  await waitFor(async () => (await versions()).join() === '3,3');
});

test('Roll back, on node B: the version before is the latest again, on both', async () => {
  expect((await served()).map(({ trainingIterations }) => trainingIterations)).toEqual([2, 2]);
  await page.selectOption('#node', 'B');
  await press('rollback', /Version 4 is the latest now, with the weights of version 2/);
  await page.getByText('Node B → Node A, user 1').first().waitFor();
  await waitFor(async () => (await versions()).join() === '4,4');
  expect((await served()).map(({ trainingIterations }) => trainingIterations)).toEqual([1, 1]);
});

test('Background traffic: loads of both nodes, until it is off', async () => {
  await page.click('#traffic');
  await page.locator('#traffic[aria-pressed=true]').waitFor();
  const loads = page.locator('#nodes tr:first-child td');
  await waitFor(async () => (await loads.allTextContents()).every((text) => Number(text) > 15));
  await page.click('#traffic');
  await page.locator('#traffic[aria-pressed=false]').waitFor();
  await page.click('#traffic');
});

test('Cut Redis: both nodes say degraded, rank on, and heal', async () => {
  await press('cut', /Redis is cut for 1\.5 s/);
  await page.getByText('Live, Redis is cut').waitFor();
  await waitFor(async () => /degraded/.test((await partOf('A', 'bus')) + (await partOf('A', 'redis'))));
  await waitFor(async () => /degraded/.test((await partOf('B', 'bus')) + (await partOf('B', 'redis'))));
  await press('rank', /Ranked 20 titles on node B, by version/);
  await page.getByText('Live, Redis connected').waitFor();
  for (const node of ['A', 'B']) {
    await waitFor(async () => `${await partOf(node, 'redis')} ${await partOf(node, 'bus')}` === 'up live', {
      timeoutMs: 20_000,
      what: `${node} to heal`,
    });
  }
  await page
    .getByText(/Bus: after \d+ ms/)
    .first()
    .waitFor();
});

test('no page has complained; SIGTERM ends the launcher and both nodes', async () => {
  expect(stack.complaints).toEqual([]);
  const { nodes } = stack;
  expect(nodes.filter(({ pid }) => isRunning(pid))).toHaveLength(2);
  await page.close();
  expect(await stack.end()).toEqual({ code: 143, err: '' });
  expect(nodes.filter(({ pid }) => isRunning(pid))).toEqual([]);
  await expect(fetch(stack.url)).rejects.toThrow();
});

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
