/** The rule with one thing missing, each in a way that somebody might think harmless. The product knows nothing of these. */
import { Coherence, type Horizon, type Knowledge, type Reading } from '../../../src/coherence/head.js';
import type { Plan } from './moves.js';
import { entryValue } from './redis-model.js';
import { NO_FEED, NO_REDIS, OPTIONS, PRODUCT, REPLICA, type Rules, STALE, STALE_REPLICA } from './rules.js';
import type { Bounds } from './search.js';
import { SERVER } from './world.js';

type Weak = new (options: typeof OPTIONS, known: Knowledge) => Coherence;

const runs = (Class: Weak): Rules => ({ ...PRODUCT, coherence: (known) => new Class(OPTIONS, known) });

class NoStamp extends Coherence {
  override counts(reading: Reading, now: number): boolean {
    return reading.server !== 0 && this.live(now);
  }
}

class NoFloor extends Coherence {
  override admits(): boolean {
    return true;
  }

  override outdated(): boolean {
    return false;
  }
}

class OnlyFence extends Coherence {
  override counts(reading: Reading): boolean {
    return reading.server !== 0;
  }
}

class ForgetsQuietly extends Coherence {
  readonly #known: Knowledge;

  constructor(options: typeof OPTIONS, known: Knowledge) {
    super(options, known);
    this.#known = known;
  }

  override forget(): void {
    this.#known.floors.clear();
    this.#known.doubts.clear();
  }
}

class AnyEra extends Coherence {
  override listen(horizon: Horizon, _: number, sentAt: number): boolean {
    return super.listen(horizon, this.era, sentAt);
  }
}

class NoDoubt extends Coherence {
  override doubt(): void {
    // The next load may still bring what was there before the write.
  }
}

class ShowsNothing extends Coherence {
  override show(): boolean {
    return false;
  }
}

class TrustsThePast extends Coherence {
  readonly #known: Knowledge;

  constructor(options: typeof OPTIONS, known: Knowledge) {
    super(options, known);
    this.#known = known;
  }

  override knownLatestAt(reading: Reading): number {
    return Math.max(reading.verifiedAt, this.#known.provenAt);
  }
}

class IgnoresGaps extends Coherence {
  override loseHorizon(): number {
    return this.era;
  }
}

class CountsForever extends Coherence {
  override counts(reading: Reading): boolean {
    return reading.server !== 0 && reading.verifiedAt > Number.NEGATIVE_INFINITY;
  }
}

export interface Weakness extends Partial<Omit<Plan, 'rules'>> {
  readonly rules: Rules;
  readonly bounds: Bounds;
}

const ONE = { loads: 1, writes: 1, faults: 1 };

export const WEAKNESSES: Readonly<Record<string, Weakness>> = {
  'no stamp is checked': { rules: runs(NoStamp), bounds: ONE },
  'no floor is checked': { rules: runs(NoFloor), bounds: ONE },
  'the fence is all there is': { rules: runs(OnlyFence), bounds: ONE },
  'floors are forgotten and the horizon is not renewed': {
    rules: runs(ForgetsQuietly),
    bounds: ONE,
  },
  'what a standby shows counts as what Postgres was asked': {
    rules: { ...REPLICA, replica: ({ known: { era } }) => ({ verifiedAt: Number.NEGATIVE_INFINITY, era }) },
    bounds: ONE,
  },
  'what a standby shows settles a doubt': {
    rules: {
      ...REPLICA,
      replica: ({ now }, coherence, { mark }) => ({ verifiedAt: now, era: coherence.eraShown(SERVER, mark) }),
    },
    bounds: ONE,
  },
  'what a standby shows while Postgres is away is taken for known by the ear': {
    rules: { ...STALE_REPLICA, coherence: (known) => new TrustsThePast(OPTIONS, known) },
    bounds: ONE,
  },
  'a fill asks for no token': {
    rules: {
      ...PRODUCT,
      scripts: {
        ...PRODUCT.scripts,
        fill: (held, _, entry) => ((held?.entry?.revision ?? -1) > entry.revision ? held : entryValue(entry)),
      },
    },
    bounds: ONE,
  },
  'a horizon of another era is taken': {
    rules: runs(AnyEra),
    bounds: { loads: 1, writes: 1, faults: 2 },
  },
  'a write without an answer leaves no doubt': {
    rules: runs(NoDoubt),
    bounds: ONE,
  },
  'a flight is joined however old it is': {
    rules: { ...PRODUCT, joins: () => true },
    bounds: { loads: 2, writes: 1, faults: 1 },
  },
  'an answer is no floor': { rules: runs(ShowsNothing), bounds: { loads: 1, writes: 1, faults: 0 }, evicts: true },
  'word that many have changed is no gap': {
    rules: runs(IgnoresGaps),
    bounds: { loads: 1, writes: 1, faults: 0 },
    operations: ['bulk delete'],
  },
  'what an ear covers is not asked of what is served stale': {
    rules: { ...STALE, coherence: (known) => new TrustsThePast(OPTIONS, known) },
    bounds: ONE,
  },
  'without a feed a reading counts however old it is': {
    rules: {
      ...NO_FEED,
      coherence: (known) => new CountsForever({ ...OPTIONS, changeFeed: false }, known),
    },
    bounds: { loads: 1, writes: 1, faults: 0 },
  },
  'without Redis a lost answer leaves no doubt': {
    rules: { ...NO_REDIS, coherence: (known) => new NoDoubt(OPTIONS, known) },
    bounds: ONE,
  },
  'the bus does not say that Redis knows nothing': { rules: { ...PRODUCT, saysUnsettled: false }, bounds: ONE },
};
