/** The live page where there is no Redis: two tiers, and the page says so. */
import { expect, test } from 'vitest';
import { waitFor } from '../../support/wait.js';
import { useLivePage } from './stack.js';

// No redis-server on PATH.
const stack = useLivePage({ env: () => ({ REDIS_URL: '', PATH: '' }) });

test('the page says that there is no Redis, and has nothing to cut', async () => {
  expect(stack.printed).toMatch(/Redis +none: no REDIS_URL, no redis-server on PATH\. Two tiers, memory and Postgres/);
  const page = await stack.open();
  await page.getByText('Live, no Redis: two tiers').waitFor();
  const cut = page.locator('[data-action=cut]');
  expect(await cut.isDisabled()).toBe(true);
  expect(await cut.textContent()).toBe('No Redis to cut');
  for (const node of ['A', 'B']) {
    for (const [part, state] of Object.entries({ redis: 'off', bus: 'off', postgres: 'up', 'change-feed': 'live' })) {
      await page.locator(`[data-part="${node} ${part}"]`, { hasText: state }).waitFor();
    }
  }
  await page.close();
});

test('it ranks and trains on two tiers, and the other node hears of it from Postgres', async () => {
  const page = await stack.open();
  await page.click('[data-action=rank]');
  await page.getByText('Ranked 20 titles on node A, by version 1, from postgres').waitFor();
  await page.click('[data-action=rank]');
  await page.getByText('Ranked 20 titles on node A, by version 1, from memory').waitFor();
  await page.click('[data-action=train]');
  await page.getByText(/Node A trained on 20 events .* and saved version 2/).waitFor();
  await page.getByText('Node A → Node B, user 1, by Postgres NOTIFY').waitFor();
  await waitFor(async () =>
    ((await page.locator('#chart-redis').getAttribute('aria-label')) ?? '').includes(' 0 loads'),
  );
  await page.close();
  expect(stack.complaints).toEqual([]);
});
