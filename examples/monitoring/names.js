// @ts-check
/** PromQL over the package's list of metrics: a name that is not in it cannot be written. */
import { exposedMetrics } from 'lora-store/prometheus';

/**
 * The series of a metric, by its name in the list.
 * @param {string} source
 * @param {string} [selector] without braces
 * @param {'' | '_count' | '_sum' | '_bucket'} [part] of a histogram
 */
export function series(source, selector = '', part = '') {
  const metric = exposedMetrics.find((each) => each.source === source);
  if (metric === undefined) throw new Error(`there is no metric ${source}: src/telemetry/metrics.ts has the list`);
  if ((metric.type === 'histogram') !== (part !== ''))
    throw new Error(`${source} is a ${metric.type}, and '${part}' no part of it`);
  return `${metric.name}${part}${selector === '' ? '' : `{${selector}}`}`;
}

/**
 * How often a second, in each combination of `by`.
 * @param {string} counted series of a counter
 * @param {string} window
 * @param {string} [by] labels
 */
export function perSecond(counted, window, by = '') {
  return `sum${by === '' ? '' : ` by (${by})`} (rate(${counted}[${window}]))`;
}

/**
 * @param {number} q 0 to 1
 * @param {string} source of a histogram
 * @param {string} window
 * @param {{ selector?: string, by?: string }} [of]
 */
export function quantile(q, source, window, { selector = '', by = '' } = {}) {
  const labels = by === '' ? 'le' : `le, ${by}`;
  return `histogram_quantile(${q}, ${perSecond(series(source, selector, '_bucket'), window, labels)})`;
}
