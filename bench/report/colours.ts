/**
 * One colour a side, the same in every chart of the page. What is judged (the upper half of some ratio) takes a cool
 * colour and what it is measured against a warm one, so that the two are told apart before a word is read. Colours are
 * CSS variables: the theme decides what they look like (style.ts), and no chart needs them to be understood.
 */
import type { CaseResult, Results } from '../harness/results.js';

const cool = ['--blue', '--teal', '--violet', '--green'];
const warm = ['--orange', '--rose', '--olive', '--brown', '--slate', '--plum'];

export type Colours = (name: string) => string;

export function coloursOf({ cases }: Results): Colours {
  const judged = new Set(cases.flatMap(({ ratios }) => ratios.map(({ of }) => of)));
  const sides = new Set(cases.flatMap(({ sides }) => sides.map(({ name }) => name)));
  const paletteFor = (name: string) => {
    if (judged.has(name)) return cool;
    return sides.has(name) ? warm : [...cool, ...warm];
  };
  const chosen = new Map<string, string>();
  for (const name of new Set(cases.flatMap(namesIn))) {
    const neighbours = cases.map(namesIn).filter((names) => names.includes(name));
    const taken = neighbours.flat().map((neighbour) => chosen.get(neighbour));
    chosen.set(name, leastUsed(paletteFor(name), taken));
  }
  return (name) => `var(${chosen.get(name) ?? '--slate'})`;
}

function namesIn({ sides, curves }: CaseResult): string[] {
  return [...sides.map(({ name }) => name), ...curves.flatMap(({ series }) => series.map(({ name }) => name))];
}

/** A colour that nothing beside it has, and of several the first. */
function leastUsed(palette: readonly string[], taken: readonly (string | undefined)[]): string {
  const uses = (colour: string) => taken.filter((other) => other === colour).length;
  return palette.reduce((best, colour) => (uses(colour) < uses(best) ? colour : best));
}
