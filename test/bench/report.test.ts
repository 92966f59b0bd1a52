/**
 * The page of a run, opened in Chromium as a reader opens it: on a desk and on a phone, in the light and in the dark.
 * What is shown is seeded; that it is shown, whole and legible, is the question.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Results } from '../../bench/harness/results.js';
import { renderReport } from '../../bench/report/report.js';
import { openBrowser } from '../support/browser.js';
import { seededResults } from './seeded-results.js';

const results = seededResults();

let directory: string;
let browser: Browser;
let url: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'lora-store-report-'));
  const path = join(directory, 'report.html');
  writeFileSync(path, renderReport(results));
  url = pathToFileURL(path).href;
  browser = await openBrowser();
});

afterAll(async () => {
  await browser?.close();
  rmSync(directory, { recursive: true, force: true });
});

const readers = [
  { device: 'desk', colorScheme: 'light', width: 1280 },
  { device: 'desk', colorScheme: 'dark', width: 1280 },
  { device: 'phone', colorScheme: 'light', width: 360 },
  { device: 'phone', colorScheme: 'dark', width: 360 },
] as const;

test.each(readers)('on a $device in the $colorScheme: quiet, whole and legible', async ({ colorScheme, width }) => {
  const page = await browser.newPage({ colorScheme, viewport: { width, height: 800 } });
  try {
    const heard = listenTo(page);
    await page.goto(url);
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(width);
    expect(await page.evaluate(dotsByFigure)).toEqual(expectedDots(results));
    expect(await smallestText(page)).toBeGreaterThanOrEqual(11);
    const { background, contrasts } = await page.evaluate<Colours>(colours);
    expect(background > 0.5).toBe(colorScheme === 'light');
    expect(Math.min(...Object.values(contrasts.text))).toBeGreaterThanOrEqual(4.5);
    expect(Math.min(...Object.values(contrasts.marks))).toBeGreaterThanOrEqual(3);
    await page.waitForLoadState('networkidle');
    expect(heard).toEqual({ console: [], errors: [], requests: [url] });
  } finally {
    await page.close();
  }
});

test('every table, chart and section can be found and heard without being seen', async () => {
  const page = await browser.newPage();
  try {
    await page.goto(url);
    const count = (selector: string) => page.locator(selector).count();
    expect(await count('table')).toBeGreaterThan(5);
    expect(await count('table:not(:has(caption))')).toBe(0);
    expect(await count('tr:not(:has(th[scope]))')).toBe(0);
    expect(await count('figure:not(:has(figcaption))')).toBe(0);
    expect(await count('figure svg:not([role=img][aria-label])')).toBe(0);
    expect(await count('h1')).toBe(1);
    expect(await count('section:not([aria-labelledby])')).toBe(0);
    const targets = await page.evaluate<string[]>(`[...document.querySelectorAll('nav a')].map((a) => a.hash)`);
    expect(targets).toHaveLength(results.cases.length + 2);
    for (const target of targets) expect(await count(target)).toBe(1);
    expect(await page.evaluate(skippedHeadings)).toEqual([]);
  } finally {
    await page.close();
  }
});

test('what a run calls its sides is text, never markup', () => {
  const page = renderReport(results);
  expect(page).toContain('Seeded CPU &lt;tm&gt; @ 2.0 GHz');
  expect(page).toContain('One side copies &amp; the other &lt;shares&gt;');
  expect(page).not.toMatch(/NaN|undefined|\[object|<script/);
});

test('a run of one case, without targets, ratios or curves, has a page too', () => {
  const [first] = results.cases;
  const page = renderReport({ ...results, quick: true, targets: [], cases: first ? [{ ...first, ratios: [] }] : [] });
  expect(page).toContain('A quick run');
  expect(page).not.toContain('id="targets"');
  expect(page.match(/<figure>/g)).toHaveLength(2);
});

function listenTo(page: Page) {
  const heard = { console: [] as string[], errors: [] as string[], requests: [] as string[] };
  page.on('console', (message) => heard.console.push(message.text()));
  page.on('pageerror', (error) => heard.errors.push(error.message));
  page.on('request', (request) => heard.requests.push(request.url()));
  return heard;
}

/** By title, in the order of the page: a dot a target, a side, a ratio, a point of a curve. */
function expectedDots({ targets, cases }: Results): number[] {
  const measured = targets.filter(({ value }) => value !== null).length;
  const ofCases = cases.flatMap(({ sides, ratios, curves }) => {
    const groups = [...new Set(sides.map(({ group }) => group))];
    return [
      ...groups.map((name) => sides.filter(({ group }) => group === name).length),
      ratios.length,
      ...curves.map(({ series }) => series.flatMap(({ points }) => points).length),
    ];
  });
  return [measured, cases.length, ...ofCases];
}

// What runs in the page is text: the project's types know no DOM.

/** Those that are visible and inside their chart. */
const dotsByFigure = `[...document.querySelectorAll('figure')].map((figure) => {
  const charts = [...figure.querySelectorAll('svg')].filter((svg) => svg.checkVisibility());
  return charts.flatMap((svg) => {
    const frame = svg.getBoundingClientRect();
    return [...svg.querySelectorAll('circle')].filter((dot) => {
      const { left, right, top, bottom, width } = dot.getBoundingClientRect();
      return width > 4 && left >= frame.left && right <= frame.right && top >= frame.top && bottom <= frame.bottom;
    });
  }).length;
})`;

/** In pixels of the screen, which for the text of a chart is not the size that it was drawn with. */
function smallestText(page: Page): Promise<number> {
  return page.evaluate(`Math.min(...[...document.querySelectorAll('svg text, p, td, th, li, figcaption')]
    .filter((element) => element.checkVisibility())
    .map((element) => {
      const svg = element.closest('svg');
      const scale = svg === null ? 1 : svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
      return parseFloat(getComputedStyle(element).fontSize) * scale;
    }))`);
}

interface Colours {
  /** Relative luminance. */
  readonly background: number;
  /** With the background, by colour. */
  readonly contrasts: { readonly text: Record<string, number>; readonly marks: Record<string, number> };
}

/** As WCAG 2 computes them. */
const colours = `(() => {
  const luminance = (colour) => {
    const [r, g, b] = colour.match(/[0-9.]+/g).map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const background = luminance(getComputedStyle(document.body).backgroundColor);
  const contrast = (colour) => {
    const [dark, light] = [luminance(colour), background].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const of = (selector, property) => Object.fromEntries([...document.querySelectorAll(selector)]
    .map((element) => getComputedStyle(element)[property])
    .filter((colour) => colour !== 'none')
    .map((colour) => [colour, contrast(colour)]));
  return { background, contrasts: {
    text: { ...of('p, td, th, li, a, caption, figcaption, span', 'color'), ...of('svg text', 'fill') },
    marks: of('circle', 'fill'),
  } };
})()`;

/** Headings that are two levels below the one before them. */
const skippedHeadings = `[...document.querySelectorAll('h1, h2, h3, h4')]
  .filter((heading, index, all) => index > 0 && heading.tagName[1] - all[index - 1].tagName[1] > 1)
  .map((heading) => heading.textContent)`;
