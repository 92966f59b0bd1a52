/** What was promised and what was measured: the verdict in a sentence, a chart of the distances, the table with the reasons. */
import type { Results, TargetResult } from '../harness/results.js';
import { type Html, html, nothing } from './html.js';
import { distances, quartiles } from './intervals.js';
import { bound, ratio as digits } from './units.js';

type Outcome = 'met' | 'short' | 'not measured';

export function outcome({ met }: TargetResult): Outcome {
  if (met === null) return 'not measured';
  return met ? 'met' : 'short';
}

/** '9 of 13 targets are met, 2 are short, 2 were not measured.' */
export function verdict({ targets }: Results): string {
  const of = (wanted: Outcome) => targets.filter((target) => outcome(target) === wanted).length;
  const [met, short, open] = [of('met'), of('short'), of('not measured')];
  const rest = [
    ...(short > 0 ? [`${short} ${short === 1 ? 'is' : 'are'} short`] : []),
    ...(open > 0 ? [`${open} ${open === 1 ? 'was' : 'were'} not measured`] : []),
  ];
  return [`${met} of ${targets.length} targets are met`, ...rest].join(', ').concat('.');
}

export function targetSection(results: Results): Html {
  const { targets } = results;
  if (targets.length === 0) return nothing;
  return html`<section aria-labelledby="targets"><h2 id="targets">Targets</h2>
${distances('Distance to each target', targets)}
<table class="targets">
<caption>All targets, the quartiles of a median in small; why one is short or was not measured</caption>
<thead><tr><th scope="col">What</th><th scope="col">Outcome</th><th scope="col" class="number">Measured</th>
<th scope="col" class="number">Target</th><th scope="col">Why</th></tr></thead>
<tbody>
${targets.map(row)}
</tbody></table></section>`;
}

const marks: Readonly<Record<Outcome, readonly [mark: string, style: string]>> = {
  met: ['✓', 'met'],
  short: ['✗', 'short'],
  'not measured': ['–', 'open'],
};

function row(target: TargetResult): Html {
  const [mark, style] = marks[outcome(target)];
  return html`<tr><th scope="row">${target.what}</th>
<td class="outcome"><span class="${style}"><span aria-hidden="true">${mark}</span> ${outcome(target)}</span></td>
<td class="number">${target.value === null ? '' : digits(target.value)}${spread(target)}</td>
<td class="number">${bound(target)}</td><td class="why">${target.why ?? ''}</td></tr>`;
}

function spread({ low, high }: TargetResult): Html {
  if (low === undefined || high === undefined) return nothing;
  return html`<span class="spread">${quartiles({ low, high })}</span>`;
}
