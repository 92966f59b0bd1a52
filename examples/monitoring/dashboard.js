// @ts-check
/** The dashboard in Grafana's JSON: panels three in a line, below the title of their row. */
import { series } from './names.js';
import { rows } from './panels.js';

/** @typedef {import('./panels.js').Panel} Panel */

/** Of 24 columns. */
const WIDTH = 8;
const HEIGHT = 8;
const datasource = { type: 'prometheus', uid: '$datasource' };

/**
 * A variable whose values are those of a label.
 * @param {string} name
 * @param {string} query
 */
const variable = (name, query) => ({
  name,
  type: 'query',
  datasource,
  query: { query, refId: name },
  definition: query,
  refresh: 2,
  multi: true,
  includeAll: true,
  current: { text: 'All', value: '$__all' },
});

const anySeries = series('lora_store.memory.limit');

/**
 * @param {Panel} panel
 * @param {number} id
 * @param {{ x: number, y: number }} at
 */
function timeseries({ title, unit, targets }, id, { x, y }) {
  return {
    id,
    type: 'timeseries',
    title,
    datasource,
    gridPos: { x, y, w: WIDTH, h: HEIGHT },
    fieldConfig: { defaults: { unit, min: 0 }, overrides: [] },
    options: { legend: { showLegend: true, displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi' } },
    targets: targets.map(({ expr, legend }, i) => ({
      refId: String.fromCharCode(65 + i),
      datasource,
      expr,
      legendFormat: legend,
    })),
  };
}

function layout() {
  const panels = [];
  let [id, y] = [1, 0];
  for (const { title, panels: inRow } of rows) {
    panels.push({ id: id++, type: 'row', title, collapsed: false, gridPos: { x: 0, y: y++, w: 24, h: 1 }, panels: [] });
    for (const [i, panel] of inRow.entries()) {
      const place = { x: (i % 3) * WIDTH, y: y + Math.floor(i / 3) * HEIGHT };
      panels.push(timeseries(panel, id++, place));
    }
    y += Math.ceil(inRow.length / 3) * HEIGHT;
  }
  return panels;
}

export const dashboard = {
  uid: 'lora-store',
  title: 'lora-store',
  tags: ['lora-store'],
  schemaVersion: 39,
  version: 1,
  editable: true,
  time: { from: 'now-1h', to: 'now' },
  refresh: '30s',
  templating: {
    list: [
      { name: 'datasource', type: 'datasource', query: 'prometheus', current: {} },
      variable('job', `label_values(${anySeries}, job)`),
      variable('instance', `label_values(${series('lora_store.memory.limit', 'job=~"$job"')}, instance)`),
    ],
  },
  panels: layout(),
};
