/** The live page as its readers have it: in the light and in the dark, on a phone, and without a mouse. */
import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { waitFor } from '../../support/wait.js';
import { useLivePage } from './stack.js';

const stack = useLivePage({ traffic: true });

interface Contrasts {
  background: string;
  /** By the text itself. */
  low: Record<string, number>;
  texts: number;
}

/** Of every text that is shown against what is behind it, as WCAG 2 computes it. */
const contrasts = `(() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    const colour = channels(getComputedStyle(node).backgroundColor);
    return colour.length === 3 || colour[3] === 1 ? colour : behind(node.parentElement);
  };
  const low = {};
  let texts = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !node.getClientRects().length || node.closest('script, .new')) continue;
    texts++;
    const [a, b] = [luminance(channels(getComputedStyle(node).color)), luminance(behind(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) low[walker.currentNode.textContent] = ratio;
  }
  return { background: getComputedStyle(document.body).backgroundColor, low, texts };
})()`;

async function legible(page: Page): Promise<string> {
  const { background, low, texts } = await page.evaluate<Contrasts>(contrasts);
  expect(texts).toBeGreaterThan(50);
  expect(low).toEqual({});
  return background;
}

test('it opens on something to see: loads of every tier, until the traffic is switched off', async () => {
  const page = await stack.open();
  expect(await page.locator('#traffic').getAttribute('aria-pressed')).toBe('true');
  for (const tier of ['memory', 'redis', 'postgres']) {
    const label = async () => (await page.locator(`#chart-${tier}`).getAttribute('aria-label')) ?? '';
    await waitFor(async () => /Histogram of [1-9]\d* loads/.test(await label()), { timeoutMs: 30_000, what: tier });
  }
  await page.click('#traffic');
  await page.locator('#traffic[aria-pressed=false]').waitFor();
  await page.click('#traffic');
  await page.locator('#traffic[aria-pressed=true]').waitFor();
  await page.close();
});

test('a row of a list comes once: what is new among those that stay is all that is shown as new', async () => {
  const page = await stack.open();
  await page.evaluate(`
    window.came = [];
    new MutationObserver((changes) => {
      for (const { addedNodes } of changes) for (const { dataset } of addedNodes) came.push(dataset.key);
    }).observe(document.getElementById('travels'), { childList: true });
  `);
  const came = await waitFor(
    async () => {
      const keys = await page.evaluate<string[]>('came');
      return keys.length > 5 && keys;
    },
    { timeoutMs: 30_000, what: 'five invalidations' },
  );
  expect(came).toEqual([...new Set(came)]);
  await page.close();
});

test('both themes, by the system and by the button: other colours, all legible', async () => {
  const page = await stack.open({ colorScheme: 'light' });
  await waitFor(async () => (await page.locator('#events li').count()) > 1);
  // Whatever colour an outage has.
  await page.click('[data-action=cut]');
  await page.locator('td.degraded').first().waitFor();
  const light = await legible(page);
  await page.getByRole('button', { name: 'Dark theme' }).click();
  const dark = await legible(page);
  expect(dark).not.toBe(light);
  await page.reload();
  await page.getByRole('button', { name: 'Light theme' }).click();
  expect(await legible(page)).toBe(light);
  await page.close();
  const other = await stack.open({ colorScheme: 'dark' });
  expect(await legible(other)).toBe(dark);
  await other.close();
});

test('on a phone nothing is wider than it or than its own place, in an outage too, and every chart is drawn', async () => {
  const page = await stack.open({ viewport: { width: 360, height: 740 }, isMobile: true });
  await page.locator('#chart-postgres canvas').waitFor();
  expect(await page.evaluate('[innerWidth, document.documentElement.scrollWidth]')).toEqual([360, 360]);
  expect(await page.locator('.chart canvas').count()).toBe(3);
  // The longest that a cell says.
  await page.getByText('Live, Redis connected').waitFor();
  await page.click('[data-action=cut]');
  for (const node of ['A', 'B']) await page.locator(`[data-part="${node} bus"]`, { hasText: 'degraded' }).waitFor();
  const wide = `[...document.querySelectorAll('main *')].filter((node) => node.clientWidth > 0 && node.scrollWidth > node.clientWidth)`;
  expect(await page.evaluate(`${wide}.map(({ outerHTML }) => outerHTML)`)).toEqual([]);
  await page.close();
});

test('without a mouse: Tab reaches every control, shows where it is, and Enter presses', async () => {
  const page = await stack.open();
  const reached: string[] = [];
  for (let i = 0; i < 9; i++) {
    await page.keyboard.press('Tab');
    const [id, outline] = await page.evaluate<[string, string]>(
      `[document.activeElement.dataset.action ?? document.activeElement.id, getComputedStyle(document.activeElement).outlineStyle]`,
    );
    expect(outline).toBe('solid');
    reached.push(id);
    if (id === 'cut' || id === 'theme' || id === 'traffic' || id === 'node' || id === 'user') continue;
    const before = await page.locator('#result').innerHTML();
    await page.keyboard.press('Enter');
    await waitFor(async () => (await page.locator('#result').innerHTML()) !== before, { what: `${id} by Enter` });
    expect(await page.evaluate('document.activeElement.dataset.action')).toBe(id);
  }
  expect(reached).toEqual(['traffic', 'theme', 'node', 'user', 'rank', 'events', 'train', 'rollback', 'cut']);
  expect(await page.locator('button:not([type=button]), select:not(label select)').count()).toBe(0);
  expect(await page.locator('#result[aria-live=polite]').count()).toBe(1);
  await page.close();
});

test('by the keyboard alone: traffic, theme, both selects, a training and the cut do what they do', async () => {
  const page = await stack.open({ colorScheme: 'light' });
  const tabTo = async (id: string) => {
    await page.keyboard.press('Tab');
    expect(await page.evaluate('document.activeElement.dataset.action ?? document.activeElement.id')).toBe(id);
  };
  const result = page.locator('#result');
  const traffic = (on: boolean) => page.locator(`#traffic[aria-pressed=${on}]`).waitFor();

  await tabTo('traffic');
  await traffic(true);
  await page.keyboard.press('Space');
  await traffic(false);
  await result.getByText('Background traffic is off.').waitFor();
  await page.keyboard.press('Enter');
  await traffic(true);

  await tabTo('theme');
  const ground = () => page.evaluate<string>('getComputedStyle(document.body).backgroundColor');
  const light = await ground();
  await page.keyboard.press('Enter');
  expect(await ground()).not.toBe(light);
  await page.keyboard.press('Space');
  expect(await ground()).toBe(light);

  await tabTo('node');
  await page.keyboard.press('ArrowDown');
  await tabTo('user');
  for (let i = 0; i < 2; i++) await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowUp');
  await tabTo('rank');
  await tabTo('events');
  await tabTo('train');
  await page.keyboard.press('Space');
  await result.getByText(/^Node B trained on \d+ events/).waitFor();
  await page.getByText(/^Node B → Node A, user 2, by /).waitFor();

  await tabTo('rollback');
  await tabTo('cut');
  await page.getByText('Live, Redis connected').waitFor();
  await page.keyboard.press('Space');
  await page.getByText('Live, Redis is cut').waitFor();
  await page.getByText('Live, Redis connected').waitFor();
  await page.keyboard.press('Enter');
  await page.getByText('Live, Redis is cut').waitFor();
  await page.close();
});

test('whoever wants less motion sees none', async () => {
  const page = await stack.open({ reducedMotion: 'reduce' });
  await page.locator('#travels li.new').first().waitFor();
  expect(await page.evaluate(`getComputedStyle(document.querySelector('.log li.new')).animationName`)).toBe('none');
  await page.close();
});

test('one response, which says what may run in it', async () => {
  const response = await fetch(stack.url);
  expect(response.headers.get('content-security-policy')).toMatch(/^default-src 'none'; script-src 'sha256-/);
  expect(await response.text()).not.toMatch(/<(script|link|img)[^>]+(src|href)="(?!data:,")/);
  expect(stack.complaints).toEqual([]);
});
