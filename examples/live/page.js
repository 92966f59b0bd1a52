// @ts-check
/**
 * page.html as one response: uPlot is put in from node_modules, and the policy of what may run names the digests of what is
 * there, so that nothing else does and the page asks no network.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const read = (/** @type {string | URL} */ path) => readFileSync(path, 'utf8');

export function composePage() {
  const css = read(require.resolve('uplot/dist/uPlot.min.css'));
  const js = read(require.resolve('uplot/dist/uPlot.iife.min.js'));
  // Functions: in a replacement text $ has a meaning, and minified code is full of it.
  const html = read(new URL('page.html', import.meta.url))
    .replace('<!-- uPlot.css -->', () => `<style>${css}</style>`)
    .replace('<!-- uPlot.js -->', () => `<script>${js}</script>`);
  const policy = [
    "default-src 'none'",
    `script-src ${digests(html, 'script')}`,
    `style-src ${digests(html, 'style')}`,
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ];
  return { html, policy: policy.join('; ') };
}

/** @param {string} html @param {string} tag */
function digests(html, tag) {
  const texts = [...html.matchAll(new RegExp(`<${tag}>([\\s\\S]*?)</${tag}>`, 'g'))].map(([, text]) => text ?? '');
  return texts.map((text) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`).join(' ');
}
