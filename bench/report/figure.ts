/**
 * A chart of the report: a figure with its caption, drawn twice, for a desk and for a phone, because text that is scaled
 * down with a chart cannot be read; the style shows one of them.
 *
 * Observable Plot draws while the report is written, into linkedom's document. So the page is plain SVG: it needs no
 * script and no network, prints, keeps working when the library is gone, and takes its theme from CSS variables. What is
 * given up, tooltips, the tables beside the charts hold.
 */
import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import { Html, html, nothing } from './html.js';

export interface Size {
  readonly name: 'wide' | 'narrow';
  readonly width: number;
}

export interface Figure {
  readonly title: string;
  /** How to read it, or nothing. */
  readonly hint: string;
  /** What a screen reader says instead of the chart. */
  readonly summary: string;
  /** Names and colours, for a phone, where there is no room beside the lines. */
  readonly key?: readonly (readonly [name: string, colour: string])[];
  readonly draw: (size: Size) => Plot.PlotOptions;
}

const sizes: readonly Size[] = [
  { name: 'wide', width: 824 },
  { name: 'narrow', width: 320 },
];

const { document } = parseHTML('<!doctype html><html><body></body></html>');

export function figure({ title, hint, summary, key = [], draw }: Figure): Html {
  const entries = key.map(([name, colour]) => html`<li style="--colour: ${colour}">${name}</li>`);
  return html`<figure>
<figcaption>${title}${hint === '' ? nothing : html` <span class="soft">${hint}</span>`}</figcaption>
${entries.length === 0 ? nothing : html`<ul class="key narrow">${entries}</ul>`}
${sizes.map((size) => html`<div class="${size.name}">${svg(summary, size, draw(size))}</div>`)}
</figure>`;
}

/** The scales that Plot would use, for labels that have to know where their line ends. */
export function scalesOf(options: Plot.PlotOptions): Plot.Plot {
  return Plot.plot({ ...options, document });
}

function svg(summary: string, { width }: Size, options: Plot.PlotOptions): Html {
  const drawn = Plot.plot({ ...options, width, document, ariaLabel: summary, className: 'plot' });
  drawn.setAttribute('role', 'img');
  // Plot's own style sheet, once a chart, would set the font and a width in pixels.
  drawn.querySelector('style')?.remove();
  return new Html(drawn.outerHTML);
}
