/**
 * What a case is handed: time, servers, comparisons, and a place for what it finds. A case asks its question through this
 * and writes to nothing else.
 */
import { type Comparison, type Contest, contend } from './compare.js';
import type { CaseResult, Curve, Ratio, SideResult, TargetResult } from './results.js';
import { type Servers, serversOf } from './servers.js';

/** A file of bench/cases. */
export interface Case {
  /** The one question it answers. */
  readonly question: string;
  run(bench: Bench): Promise<void>;
}

export interface Finding {
  readonly result: CaseResult;
  readonly targets: readonly TargetResult[];
  readonly servers: Readonly<Record<string, string>>;
  readonly versions: Readonly<Record<string, string>>;
}

export class Bench {
  /** For everything, the servers' start included. */
  readonly seconds: number;
  /** A look, not a measurement: fewer rounds, fewer rows. */
  readonly quick: boolean;
  /** Postgres and Redis of this case alone; they end with it. */
  readonly servers: Servers;
  readonly #name: string;
  readonly #progress: (doing: string) => void;
  readonly #began = performance.now();
  readonly #sides: SideResult[] = [];
  readonly #ratios: Ratio[] = [];
  readonly #curves: Curve[] = [];
  readonly #notes: string[] = [];
  readonly #targets: TargetResult[] = [];
  readonly #versions: Record<string, string> = {};

  constructor(name: string, seconds: number, quick: boolean, progress: (doing: string) => void) {
    this.#name = name;
    this.seconds = seconds;
    this.quick = quick;
    this.servers = serversOf(name);
    this.#progress = progress;
  }

  /** Seconds of the budget that are left. */
  get secondsLeft(): number {
    return Math.max(0, this.seconds - (performance.now() - this.#began) / 1000);
  }

  /** What is going on, for whoever waits. */
  doing(what: string): void {
    this.#progress(what);
  }

  /** Runs the sides in turns; what they took is part of the result, and so is every ratio asked of the comparison. */
  async compare(contest: Contest): Promise<Comparison> {
    const { sides, ratio } = await contend(contest, (doing) => this.doing(doing));
    this.#sides.push(...sides);
    return {
      sides,
      ratio: (...question) => {
        const answer = ratio(...question);
        this.#ratios.push(answer);
        return answer;
      },
    };
  }

  /** A side that was measured in a way of its own: a generator of load, say. */
  side(side: SideResult): void {
    this.#sides.push(side);
  }

  curve(curve: Curve): void {
    this.#curves.push(curve);
  }

  /** What is unfair, or was left out and why. */
  note(text: string): void {
    this.#notes.push(text);
  }

  /** Version of something compared with that is no npm package of ours: main.ts knows those. */
  version(what: string, version: string): void {
    this.#versions[what] = version;
  }

  /** null: not measured, and `why` says why. */
  target(
    what: string,
    relation: TargetResult['relation'],
    bound: number,
    value: Ratio | number | null,
    why?: string,
  ): void {
    const spread = value !== null && typeof value === 'object' ? { low: value.low, high: value.high } : {};
    const measured = value !== null && typeof value === 'object' ? value.median : value;
    const met = measured === null ? null : holds(measured, relation, bound);
    if (met === null && why === undefined) throw new Error(`target '${what}' was not measured, and nobody says why`);
    this.#targets.push({
      what,
      relation,
      bound,
      value: measured,
      ...spread,
      met,
      ...(why === undefined ? {} : { why }),
    });
  }

  finding(question: string): Finding {
    return {
      result: {
        name: this.#name,
        question,
        seconds: (performance.now() - this.#began) / 1000,
        sides: this.#sides,
        ratios: this.#ratios,
        curves: this.#curves,
        notes: this.#notes,
      },
      targets: this.#targets,
      servers: this.servers.descriptions,
      versions: this.#versions,
    };
  }
}

function holds(value: number, relation: TargetResult['relation'], bound: number): boolean {
  if (relation === '<=') return value <= bound;
  return relation === '<' ? value < bound : value >= bound;
}
