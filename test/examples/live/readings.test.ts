/** What the live page shows of loads whose tier is known: the histograms as they are drawn, the shares, and what was stale. */
import { Redis } from 'ioredis';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { type FaultProxy, startProxy } from '../../support/proxy.js';
import { redisNamespace, redisUrl } from '../../support/redis.js';
import { waitFor } from '../../support/wait.js';
import { useLivePage } from './stack.js';

const namespace = redisNamespace();
let postgres: FaultProxy;
let redis: Redis;
let page: Page;

// Before the stack, which goes through it.
beforeAll(async () => {
  const { hostname, port } = new URL(inject('servers').postgres.url);
  postgres = await startProxy(Number(port || 5432), hostname);
  redis = new Redis(redisUrl());
});

// Registered before those of the stack, so it runs after them.
afterAll(async () => {
  redis?.disconnect();
  await postgres?.close();
});

const stack = useLivePage({
  // What a tier answers must not be lost to a slow moment, nor a cut be over before it is looked at.
  env: ({ DATABASE_URL }) => ({
    DATABASE_URL: postgres.url(DATABASE_URL),
    LORA_STORE_NAMESPACE: namespace,
    REDIS_TIMEOUT_MS: '5000',
  }),
  cutMs: 20_000,
});

beforeAll(async () => {
  page = await stack.open({ colorScheme: 'light' });
});

afterAll(() => page?.close());

const tiers = ['Memory', 'Redis', 'Postgres'];
/** Where each ranking's adapter came from, as its result said. */
const seen: Record<'A' | 'B', string[]> = { A: [], B: [] };

/** Ranks by the page, and returns the tier that its result names, with ', stale' if it was. */
async function rank(node: 'A' | 'B', user: number): Promise<string> {
  await page.selectOption('#node', node);
  await page.selectOption('#user', { label: `User ${user}` });
  const [response] = await Promise.all([page.waitForResponse(/actions\/rank$/), page.click('[data-action=rank]')]);
  const { text } = (await response.json()) as { text: string };
  const from = /, from (.*)\.$/.exec(text)?.[1];
  if (from !== undefined) seen[node].push(from);
  return from ?? text;
}

/** Ranks until `wanted` was where it came from. */
async function until(node: 'A' | 'B', wanted: string, user: number) {
  await waitFor(async () => (await rank(node, user)) === wanted, { what: `${wanted} on ${node}` });
}

/** Of the first time in a text, in milliseconds. */
function timeIn(text: string): number {
  const [, number, unit = ''] = /([\d.]+) (µs|ms|s)/.exec(text) ?? [];
  return Number(number) * ({ µs: 0.001, ms: 1, s: 1000 }[unit] ?? Number.NaN);
}

/** A row of the table: what it says of A and of B. */
async function row(measure: string): Promise<string[]> {
  const found = page.locator('#nodes tr', { has: page.getByRole('rowheader', { name: measure, exact: true }) });
  return await found.locator('td').allTextContents();
}

async function inRedis(user: number): Promise<boolean> {
  const id = `00000000-0000-4000-8000-0000000002${String(user).padStart(2, '0')}`;
  const [key = ''] = await redis.keys(`${namespace}:*${id}*`);
  // Longer than the token of a load that is under way.
  return (await redis.strlen(key)) > 100;
}

interface Drawn {
  /** Columns of the canvas in which a line of the grid runs, one in which the target's does, and those that a bar covers. */
  grid: number[];
  target: number[];
  bars: number[];
  colours: string[];
  label: string;
}

/** A histogram by its pixels. */
function drawn(tier: string): Promise<Drawn> {
  return page.evaluate<Drawn>(`(() => {
    const box = document.getElementById('chart-${tier}');
    const { width, height } = box.querySelector('canvas');
    const copy = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
    copy.drawImage(box.querySelector('canvas'), 0, 0);
    const { data } = copy.getImageData(0, 0, width, height);
    const colours = [getComputedStyle(document.getElementById('loads')).borderTopColor, getComputedStyle(document.getElementById('status')).color, getComputedStyle(box).color];
    const columns = (colour, least) => {
      const [r, g, b] = colour.match(/\\d+/g).map(Number);
      return Array.from({ length: width }, (_, x) => x).filter((x) => {
        let found = 0;
        for (let i = 4 * x; i < data.length; i += 4 * width) if (data[i] === r && data[i + 1] === g && data[i + 2] === b && data[i + 3] === 255) found++;
        return found >= least;
      });
    };
    return { grid: columns(colours[0], 15), target: columns(colours[1], 30), bars: columns(colours[2], 15), colours, label: box.getAttribute('aria-label') };
  })()`);
}

test.each(['light', 'dark'])(
  '%s: decades are as wide as each other, the line is at 2 ms, and a load at its time',
  async (theme) => {
    // The first load of anybody: of an empty Redis.
    if (theme === 'light') expect(await rank('A', 1)).toBe('postgres');
    else await page.getByRole('button', { name: 'Dark theme' }).click();
    const bar = await waitFor(async () => {
      const chart = await drawn('postgres');
      return chart.bars.length > 0 && chart;
    });
    const others = [await drawn('memory'), await drawn('redis')];
    for (const { grid, target } of [bar, ...others]) {
      expect(grid).toHaveLength(7);
      const [first = 0, last = 0] = [grid[0], grid[6]];
      const decade = (last - first) / 6;
      expect(decade).toBeGreaterThan(50);
      for (const [i, x] of grid.entries()) expect(Math.abs(x - (first + i * decade))).toBeLessThanOrEqual(1);
      expect(target).toHaveLength(1);
      expect(Math.abs((target[0] ?? 0) - (first + decade * Math.log10(2 / 0.001)))).toBeLessThanOrEqual(1);
      if (grid === bar.grid) {
        // Within the bin, an eighth of a decade, and what the rounding of the label takes from the time.
        const at = first + decade * Math.log10(Math.min(timeIn(bar.label), 1000) / 0.001);
        expect(Math.abs(at - (bar.bars[0] ?? 0))).toBeLessThanOrEqual(decade / 8 + 2);
        expect(bar.bars.length).toBeLessThanOrEqual(decade / 8);
      }
    }
    expect(others.map(({ bars }) => bars)).toEqual([[], []]);
    colours.push(...bar.colours);
    // None of the dark is one of the light.
    expect(new Set(colours).size).toBe(colours.length);
  },
);
const colours: string[] = [];

test('the table: how many loads, the share of each tier, and no age of what nobody loaded', async () => {
  await page.locator('#nodes td', { hasText: '100.0 %' }).waitFor();
  expect(await row('Verified age')).toEqual([expect.stringMatching(/s$/), '–']);
  for (const tier of tiers) expect((await row(`${tier} hits`))[1]).toBe('–');
  await until('A', 'memory', 1);
  await rank('A', 1);
  await waitFor(() => inRedis(1));
  expect(await rank('B', 1)).toBe('redis');
  await until('B', 'memory', 1);
  await waitFor(async () => (await row('Loads')).join() === [seen.A.length, seen.B.length].join());
  for (const tier of tiers) {
    const share = (node: 'A' | 'B') =>
      seen[node].filter((from) => from === tier.toLowerCase()).length / seen[node].length;
    const shown = [share('A'), share('B')].map((part) => `${(100 * part).toFixed(1)} %`);
    expect([tier, ...(await row(`${tier} hits`))]).toEqual([tier, ...shown]);
  }
  expect(await row('Served stale')).toEqual(['0', '0']);
  const total = seen.A.length + seen.B.length;
  for (const tier of tiers) {
    const count = [...seen.A, ...seen.B].filter((from) => from === tier.toLowerCase()).length;
    const caption = page.locator('figcaption', { hasText: tier }).locator('span');
    const shown = [`${count} load${count === 1 ? '' : 's'}`, `${((100 * count) / total).toFixed(1)} %`];
    expect((await caption.allTextContents()).slice(0, 2)).toEqual(shown);
  }
});

test('Postgres is cut: what is served stale is counted, and its age grows to more than a second', async () => {
  const [before = ''] = await row('Verified age');
  postgres.cut();
  await until('A', 'memory, stale', 1);
  await waitFor(async () => {
    await rank('A', 1);
    return timeIn((await row('Verified age'))[0] ?? '') > Math.max(1000, timeIn(before));
  });
  await waitFor(async () => (await row('Loads'))[0] === String(seen.A.length));
  const stale = seen.A.filter((from) => from.endsWith(', stale')).length;
  expect(stale).toBeGreaterThan(1);
  expect(await row('Served stale')).toEqual([String(stale), '0']);
  postgres.heal();
});

test('the events say what is away so that one understands it, and nothing that a driver says to its caller', async () => {
  await page.click('[data-action=cut]');
  const events = page.locator('#events li span:nth-child(2)');
  // Both connections are reset at once: then the next load finds none.
  await events.getByText('Node A: Bus: connection lost').waitFor();
  await rank('A', 9);
  await events.getByText('Node A: Redis: connection lost').waitFor();
  expect(stack.complaints).toEqual([]);
});
