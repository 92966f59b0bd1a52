/**
 * The page of a run: one file with all it needs, from the verdict down to every figure. No script and no network, which
 * its Content-Security-Policy holds: the charts are SVG that was drawn while the page was written (figure.ts says why).
 */
import type { CaseResult, Results } from '../harness/results.js';
import { caseId, caseSection, caseTitle, howToRead } from './cases.js';
import { type Colours, coloursOf } from './colours.js';
import { distributions, domainOf } from './distributions.js';
import { environmentSection } from './environment.js';
import { Html, html, nothing } from './html.js';
import { style } from './style.js';
import { targetSection, verdict } from './targets.js';

export function renderReport(results: Results): string {
  const colours = coloursOf(results);
  const { environment, quick, seconds, cases } = results;
  const day = results.date.slice(0, 10);
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<title>lora-store, measured on ${day}</title>
<style>${new Html(style)}</style>
</head>
<body>
<header>
<h1>What lora-store costs</h1>
<p class="soft">Measured on ${day} at commit ${environment.commit} in ${elapsed(seconds)}, on
${environment.cpu}. Machines are noisy: read the ratios, whose sides took turns in one run; the times are their scale.</p>
${quick ? html`<p class="notice">A quick run, for a look: too short for its figures to be quoted.</p>` : nothing}
${results.targets.length === 0 ? nothing : html`<p class="verdict">${verdict(results)}</p>`}
<nav aria-label="Contents"><ul>${contents(results)}</ul></nav>
</header>
<main>
${targetSection(results)}
${glance(results, colours)}
${cases.map((one) => caseSection(one, colours))}
${environmentSection(environment)}
</main>
<footer><p>Written by bench/report from what this run measured; bench/README.md says how.</p></footer>
</body>
</html>
`.text;
}

function elapsed(seconds: number): string {
  return seconds < 90 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;
}

function contents({ cases, targets }: Results): Html[] {
  const entries = [
    ...(targets.length === 0 ? [] : [['targets', 'Targets']]),
    ...cases.map((one) => [caseId(one), caseTitle(one)]),
    ['environment', 'Environment'],
  ];
  return entries.map(([id = '', title = '']) => html`<li><a href="#${id}">${title}</a></li>`);
}

/** A row a case: the side that its ratios judge, or else its first. */
function glance({ cases }: Results, colours: Colours): Html {
  const rows = cases.flatMap((one) => {
    const side = judged(one);
    return side === undefined
      ? []
      : [{ name: `${caseTitle(one)}: ${side.name}`, latency: side.latency, colour: colours(side.name) }];
  });
  if (rows.length < 2) return nothing;
  const domain = domainOf(rows.map(({ latency }) => latency));
  return html`<section aria-labelledby="glance"><h2 id="glance">At a glance</h2>
${distributions('Latency of a call, one row a case', howToRead, rows, domain)}</section>`;
}

function judged({ sides, ratios }: CaseResult) {
  return sides.find(({ name }) => ratios.some(({ of }) => of === name)) ?? sides.at(0);
}
