/** A training queue whose trainings are ended by hand. */
import { events, examples } from './support.js';

type Outcome = 'trained' | 'dropped' | 'again';
interface Lot {
  readonly userId: string;
  readonly adapterName: string;
  readonly events: readonly unknown[];
}
interface Forgetting {
  forget<T>(userId: string, erase: () => Promise<T>): Promise<T>;
  forgetIfLast(
    userId: string,
    erase: () => Promise<number>,
    isGone: () => Promise<boolean | undefined>,
  ): Promise<number>;
  forgetIf(userId: string, adapterName: string, isGone: () => Promise<boolean | undefined>): Promise<void>;
}
interface Queue {
  readonly counts: { accepted: number; waiting: number; trained: number; dropped: number };
  readonly running: number;
  add(userId: string, adapterName: string, events: readonly unknown[]): boolean;
  readonly forgetting: Forgetting;
  drain(): Promise<void>;
}
type Queues = new (train: (lot: Lot) => Promise<Outcome>, limits: object) => Queue;

const { TrainingQueue } = (await import(new URL('training-queue.js', examples).href)) as { TrainingQueue: Queues };

/** A queue, and the trainings that it has begun and nobody has ended yet, the oldest first. */
export function byHand(limits = {}) {
  const begun: { lot: Lot; end(outcome: Outcome): void }[] = [];
  const train = (lot: Lot) => new Promise<Outcome>((end) => begun.push({ lot, end }));
  const defaults = { capacity: 1000, concurrency: 4, minEvents: 10, retryMs: 1, drainMs: 60_000 };
  const queue = new TrainingQueue(train, { ...defaults, ...limits });
  const add = (userId: string, adapterName = 'default', count = 10) =>
    queue.add(userId, adapterName, events.slice(0, count));
  /** Ends the oldest, and lets the queue take note of it before any timer does. */
  const end = async (outcome: Outcome) => {
    begun.shift()?.end(outcome);
    await settled();
  };
  return { queue, begun, add, end, users: () => begun.map(({ lot }) => lot.userId) };
}

/** Whatever does not wait for a timer has happened. */
export async function settled() {
  for (let turn = 0; turn < 20; turn++) await undefined;
}

export function signal() {
  let give = () => {};
  const given = new Promise<void>((resolve) => {
    give = resolve;
  });
  return { given, give: () => give() };
}
