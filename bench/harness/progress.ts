/** How far a run is: a bar on a terminal, a plain line for each case elsewhere. */
import { Presets, SingleBar } from 'cli-progress';

export interface Progress {
  start(name: string): void;
  doing(what: string): void;
  done(name: string, seconds: number): void;
  stop(): void;
}

/** budgets: seconds of each case, in the order they run. */
export function progressOver(budgets: readonly number[], out: NodeJS.WriteStream): Progress {
  return out.isTTY ? bar(budgets, out) : lines(budgets, out);
}

function bar(budgets: readonly number[], out: NodeJS.WriteStream): Progress {
  const total = sum(budgets);
  const format = ' {bar} {finished}/{cases} cases, about {left} left | {what}';
  const single = new SingleBar(
    { format, stream: out, hideCursor: true, clearOnComplete: true },
    Presets.shades_classic,
  );
  const state = { finished: 0, cases: budgets.length, left: clock(total), what: '' };
  let name = '';
  let before = 0;
  let began = 0;
  const show = () => {
    const gone = Math.min(before + (performance.now() - began) / 1000, before + (budgets[state.finished] ?? 0));
    single.update(gone, { ...state, left: clock(total - gone) });
  };
  single.start(total, 0, state);
  const ticking = setInterval(show, 1000);
  return {
    start(next) {
      name = next;
      began = performance.now();
      state.what = name;
      show();
    },
    doing(what) {
      state.what = `${name}: ${what}`;
    },
    done() {
      before += budgets[state.finished] ?? 0;
      began = performance.now();
      state.finished++;
      show();
    },
    stop() {
      clearInterval(ticking);
      single.stop();
    },
  };
}

function lines(budgets: readonly number[], out: NodeJS.WriteStream): Progress {
  let finished = 0;
  return {
    start(name) {
      out.write(
        `${name}: ${finished} of ${budgets.length} cases done, about ${clock(sum(budgets.slice(finished)))} left\n`,
      );
    },
    doing() {},
    done(name, seconds) {
      finished++;
      out.write(`${name}: took ${seconds.toFixed(0)} s\n`);
    },
    stop() {},
  };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function clock(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')}`;
}
