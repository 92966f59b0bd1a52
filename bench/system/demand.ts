/** What is asked of a node, by whom and how often: drawn here, for the generator's process and for callers in the node's. */
import { seeded } from '../../test/support/random.js';
import { drawerOf, popularity } from './zipf.js';

export const OPERATIONS = ['load', 'save', 'list', 'delete'] as const;
export type Operation = (typeof OPERATIONS)[number];

/** Shares of the operations; their sum is 1. */
export type Mix = Readonly<Partial<Record<Operation, number>>>;

export interface Demand {
  readonly users: number;
  readonly mix: Mix;
  readonly seed: number;
}

export interface Asked {
  /** Index into OPERATIONS. */
  operation: number;
  user: number;
}

/** The next thing that is asked. One object for all answers: a generator has no time for garbage. */
export function draws({ users, mix, seed }: Demand): () => Asked {
  const random = seeded(seed);
  const drawUser = drawerOf(popularity(users));
  let sum = 0;
  const cumulative = OPERATIONS.map((operation) => {
    sum += mix[operation] ?? 0;
    return sum;
  });
  const last = cumulative.findLastIndex((edge, i) => edge > (cumulative[i - 1] ?? 0));
  const asked: Asked = { operation: 0, user: 0 };
  return () => {
    const share = random();
    const operation = cumulative.findIndex((edge) => share < edge);
    asked.operation = operation < 0 ? last : operation;
    asked.user = drawUser(random());
    return asked;
  };
}

const OFFSET = Number(process.hrtime.bigint()) / 1000 - performance.now() * 1000;

/** Microseconds of a clock that all processes of this machine share and nobody sets. */
export function sharedNow(): number {
  return OFFSET + performance.now() * 1000;
}
