/** The list of metrics is what docs/observability.md says of it, in names that any backend takes. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { METRICS } from '../../src/telemetry/metrics.js';
import { exposedMetrics } from '../../src/telemetry/prometheus.js';
import { root } from '../support/root.js';

test('the page has a row for each metric, in the order of the list', () => {
  const page = readFileSync(join(root, 'docs', 'observability.md'), 'utf8');
  const [, table = ''] = /<!-- metrics -->\n([\s\S]*?)<!-- \/metrics -->/.exec(page) ?? [];
  const rows = METRICS.map(({ name, instrument, unit, labels = {} }, i) => {
    const values = Object.entries(labels).map(([label, its]) => `\`${label}\`: ${its.join(', ')}`);
    return `| \`${name}\` | \`${exposedMetrics[i]?.name}\` | ${instrument} | ${unit} | ${values.join('; ')} |`;
  });
  const [, , ...written] = table.trimEnd().split('\n');
  expect(written).toEqual(rows);
});

test('no name is taken twice, in either form', () => {
  for (const names of [METRICS.map(({ name }) => name), exposedMetrics.map(({ name }) => name)]) {
    expect(new Set(names).size).toBe(names.length);
  }
});

test('buckets ascend', () => {
  for (const metric of METRICS) {
    const buckets = ('buckets' in metric && metric.buckets) || [];
    expect([metric.name, buckets]).toEqual([metric.name, [...new Set(buckets)].sort((a, b) => a - b)]);
  }
});
