/** Where the ticks of an axis go: on round numbers, at least three where the range has them, and never crowded. */

/** Both ends positive. Powers of ten if they are enough, else the coarsest steps between them that are. */
export function logTicks(from: number, to: number, most: number): number[] {
  const ladders = [[1], [1, 3], [1, 2, 5], [1, 2, 3, 4, 5, 6, 7, 8, 9]].map((steps) => onLadder(from, to, steps));
  const [powers = []] = ladders;
  if (powers.length > most) return thinned(powers, most);
  const fitting = ladders.filter(({ length }) => length >= 2 && length <= most);
  return fitting.find(({ length }) => length >= 3) ?? fitting.at(-1) ?? linearTicks(from, to, most);
}

export function linearTicks(from: number, to: number, most: number): number[] {
  const least = (to - from) / most;
  if (!(least > 0)) return [from];
  const power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= least) ?? 10 * power;
  const first = Math.ceil(from / step);
  const last = Math.floor(to / step);
  return Array.from({ length: last - first + 1 }, (_, index) => Number(((first + index) * step).toPrecision(12)));
}

function onLadder(from: number, to: number, steps: readonly number[]): number[] {
  const first = Math.floor(Math.log10(from));
  const decades = Array.from({ length: Math.ceil(Math.log10(to)) - first + 1 }, (_, index) => first + index);
  return decades
    .flatMap((exponent) => steps.map((step) => Number(`${step}e${exponent}`)))
    .filter((tick) => tick >= from && tick <= to);
}

function thinned(ticks: readonly number[], most: number): number[] {
  const every = Math.ceil(ticks.length / most);
  return ticks.filter((_, index) => index % every === 0);
}
