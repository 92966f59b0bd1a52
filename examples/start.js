// @ts-check
/**
 * npm start: in a terminal the live page, until Ctrl-C; without one, or with --once, the demo, which ends by itself.
 */
import { Command, InvalidArgumentError } from 'commander';

/** @param {number} most */
const wholeUpTo = (most) => (/** @type {string} */ text) => {
  if (/^\d{1,6}$/.test(text) && Number(text) <= most) return Number(text);
  throw new InvalidArgumentError(`A whole number up to ${most}.`);
};

const { once, live, port, cutMs, traffic } = new Command('npm start --')
  .option('--once', 'run the demo and end')
  .option('--live', 'the live page, without a terminal too')
  .option('--port <number>', 'of the live page; 0 for any that is free', wholeUpTo(65_535), 0)
  .option('--cut-ms <milliseconds>', 'for how long the page cuts Redis', wholeUpTo(600_000), 5000)
  .option('--no-traffic', 'the page begins without background traffic')
  .parse()
  .opts();

if (live || (process.stdout.isTTY && !once)) {
  const { runLive } = await import('./live/live.js');
  await runLive({ port, cutMs, traffic });
} else {
  await import('./demo/demo.js');
}
