/** 64 bits that stand for a state, and the table of those that were reached, with the way to each. */

/** Two halves, each a hash of its own. */
export interface Mark {
  readonly a: number;
  readonly b: number;
}

/** Takes numbers, one after another. */
export class Mixer {
  #a = 0x9e3779b9 | 0;
  #b = 0x85ebca6b | 0;
  #sumA = 0;
  #sumB = 0;

  add(value: number): void {
    let a = Math.imul(this.#a ^ value, 0xcc9e2d51);
    a = (a << 15) | (a >>> 17);
    this.#a = Math.imul(a, 0x1b873593) + 0x165667b1;
    let b = Math.imul(this.#b + value, 0x2c1b3c6d) ^ 0x297a2d39;
    b ^= b >>> 15;
    this.#b = Math.imul(b, 0x27d4eb2f);
  }

  /** One of several whose order does not count. */
  addAnyhow(fill: (each: Mixer) => void): void {
    const each = new Mixer();
    fill(each);
    const { a, b } = each.mark();
    this.#sumA = (this.#sumA + a) | 0;
    this.#sumB = (this.#sumB + b) | 0;
  }

  mark(): Mark {
    this.add(this.#sumA);
    this.add(this.#sumB);
    return { a: finish(this.#a), b: finish(this.#b) };
  }
}

function finish(value: number): number {
  let x = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

/** States by their marks, numbered as they come. Two of them are taken for one with a chance of n² in 2^65: at 40 million, 1 in 23,000. */
export class Reached {
  /** Slots of two halves; free where the second is 0. */
  #slots = new Uint32Array(2 << 16);
  #parents = new Int32Array(1 << 16);
  #steps = new Uint8Array(1 << 16);
  size = 0;

  /** False: it was there before. Otherwise its number is size - 1. */
  add({ a, b }: Mark, parent: number, step: number): boolean {
    if (!insert(this.#slots, a, b || 1)) return false;
    if (this.size === this.#parents.length) this.#grow();
    this.#parents[this.size] = parent;
    this.#steps[this.size] = step;
    this.size++;
    // More than two thirds full is slow.
    if (this.size * 3 > this.#slots.length) this.#slots = rehash(this.#slots);
    return true;
  }

  /** The steps that led to a state: which of those possible, from which beginning on. */
  way(state: number): { beginning: number; steps: number[] } {
    const steps: number[] = [];
    let at = state;
    for (let parent = this.#parents[at] as number; parent >= 0; parent = this.#parents[at] as number) {
      steps.unshift(this.#steps[at] as number);
      at = parent;
    }
    return { beginning: at, steps };
  }

  #grow(): void {
    const parents = new Int32Array(2 * this.size);
    parents.set(this.#parents);
    this.#parents = parents;
    const steps = new Uint8Array(2 * this.size);
    steps.set(this.#steps);
    this.#steps = steps;
  }
}

/** Where the mark lies, or the free slot for it. */
function find(slots: Uint32Array, a: number, b: number): number {
  const last = slots.length - 2;
  let at = (a << 1) & last;
  while ((slots[at + 1] as number) !== 0 && (slots[at] !== a || slots[at + 1] !== b)) at = (at + 2) & last;
  return at;
}

function insert(slots: Uint32Array, a: number, b: number): boolean {
  const at = find(slots, a, b);
  if (slots[at + 1] !== 0) return false;
  slots[at] = a;
  slots[at + 1] = b;
  return true;
}

function rehash(old: Uint32Array): Uint32Array<ArrayBuffer> {
  const slots = new Uint32Array(2 * old.length);
  for (let at = 0; at < old.length; at += 2) {
    if (old[at + 1] !== 0) insert(slots, old[at] as number, old[at + 1] as number);
  }
  return slots;
}
