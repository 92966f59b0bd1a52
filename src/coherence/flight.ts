/** Single flight, and a promise that a caller may leave. */
interface Flight<T> {
  readonly landed: Promise<T>;
  readonly begunAt: number;
}

/**
 * Whether a caller who asks now may be given what was asked for then. Word of a newer version detaches a flight; where no
 * word comes (a deaf ear, a process that was stopped) its age must not exceed what a cached entry may be served for.
 */
export function mayJoin(begunAt: number, now: number, maxAgeMs: number): boolean {
  return now - begunAt < maxAgeMs;
}

/**
 * Single flight: callers who want the same key while it is being fetched wait for that one fetch. A caller that aborts
 * leaves alone; the flight goes on for the others and for the cache.
 */
export class Flights<T> {
  readonly #flights = new Map<string, Flight<T>>();
  readonly #maxAgeMs: number;

  /** Loads that joined another's flight. */
  coalesced = 0;

  /** Nobody joins a flight that is as old as that. */
  constructor(maxAgeMs = Number.POSITIVE_INFINITY) {
    this.#maxAgeMs = maxAgeMs;
  }

  /** Joins the flight of `key`, or starts one with `fetch`. */
  join(key: string, fetch: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    const landed = this.underWay(key) ?? this.start(key, fetch());
    return signal ? untilAborted(landed, signal) : landed;
  }

  /** The flight of `key` that a caller who asks now may join, and has joined. */
  underWay(key: string): Promise<T> | undefined {
    const flight = this.#flights.get(key);
    if (flight === undefined || !mayJoin(flight.begunAt, performance.now(), this.#maxAgeMs)) return undefined;
    this.coalesced++;
    return flight.landed;
  }

  /** A fetch that has just begun is the flight of `key` until it ends: later callers join it. */
  start(key: string, fetching: Promise<T>): Promise<T> {
    const begunAt = performance.now();
    const landed = fetching.finally(() => {
      if (this.#flights.get(key)?.landed === landed) this.#flights.delete(key);
    });
    this.#flights.set(key, { landed, begunAt });
    return landed;
  }

  /** Later callers start anew: what is under way began before something they must see. */
  detach(key: string): void {
    this.#flights.delete(key);
  }
}

/** `promise`, or the signal's reason as soon as it is aborted. */
export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
    if (signal.aborted) abort();
  });
}
