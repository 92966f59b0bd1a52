/**
 * Single flight: callers who want the same key while it is being fetched wait for that one fetch. A caller that aborts
 * leaves alone; the flight goes on for the others and for the cache.
 */
export class Flights<T> {
  readonly #flights = new Map<string, Promise<T>>();

  /** Loads that joined another's flight. */
  coalesced = 0;

  /** Joins the flight of `key`, or starts one with `fetch`. */
  join(key: string, fetch: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    let flight = this.#flights.get(key);
    if (flight) {
      this.coalesced++;
    } else {
      flight = this.#start(key, fetch);
    }
    return signal ? untilAborted(flight, signal) : flight;
  }

  /** Later callers start anew: what is under way began before something they must see. */
  detach(key: string): void {
    this.#flights.delete(key);
  }

  #start(key: string, fetch: () => Promise<T>): Promise<T> {
    const flight = fetch().finally(() => {
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    });
    this.#flights.set(key, flight);
    return flight;
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
