/** The fetch of Chromium, really run: into a directory of its own, as on a machine that has none. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { chromiumFromApt, launch } from './browser.js';
import { findCommand } from './servers/find-binaries.js';

let cache: string;

beforeAll(() => {
  cache = mkdtempSync(join(tmpdir(), 'lora-store-chromium-'));
});

afterAll(() => rmSync(cache, { recursive: true, force: true }));

test('unpacks a Chromium that draws', async () => {
  if (findCommand('apt-get') === undefined) {
    await expect(chromiumFromApt(cache)).rejects.toThrow('this machine has no apt-get');
    return;
  }
  const browser = await launch(await chromiumFromApt(cache));
  try {
    const page = await browser.newPage();
    await page.setContent('<p>drawn</p>');
    expect((await page.screenshot()).length).toBeGreaterThan(1000);
  } finally {
    await browser.close();
  }
});
