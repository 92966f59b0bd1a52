/**
 * A TCP proxy for faults: put between a client and a server, it cuts, mutes or delays what runs through it, while both
 * sides stay as they are. It keeps what it delays in memory and knows no backpressure: it is made for tests.
 */
import { createServer, type Server, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './servers/ports.js';

export interface FaultProxy {
  readonly port: number;
  /** How many clients are connected through it right now. */
  readonly connections: number;
  /** How many bytes have disappeared. */
  readonly lostBytes: number;
  /** The same URL, through the proxy. */
  url(target: string): string;
  /** Resets every connection and every new one: the server is gone, and it shows. */
  cut(): void;
  /**
   * Connections stay open and new ones are accepted, but what is sent disappears: half open, as after a lost route.
   * 'answers': requests arrive and only what the server says is lost, as when a commit is never confirmed.
   */
  mute(direction?: 'both' | 'answers'): void;
  /** Every answer takes this much longer, in its order. 0: no longer. */
  delay(ms: number): void;
  /** Every answer waits for heal(), and none is lost. */
  hold(): void;
  /**
   * Each connection that is there now ends when it has delivered so many more bytes of answers, and these arrive: in the
   * middle of a row, say. New connections are spared.
   */
  cutAfter(bytes: number): void;
  /** Another server from now on: every connection ends, and new ones lead there. */
  moveTo(port: number): void;
  /** Forwards again. A connection that has lost a byte stays mute for good: nothing can continue its stream. */
  heal(): void;
  /** Ends all connections and the proxy. */
  close(): Promise<void>;
}

type Fault = 'none' | 'cut' | 'mute' | 'mute answers';

/** Shared by all links of a proxy. */
interface State {
  fault: Fault;
  delayMs: number;
  lostBytes: number;
  /** Answers wait for it. */
  held: Promise<void> | undefined;
  release(): void;
}

export async function startProxy(targetPort: number, targetHost = '127.0.0.1'): Promise<FaultProxy> {
  const state: State = { fault: 'none', delayMs: 0, lostBytes: 0, held: undefined, release: () => undefined };
  const links = new Set<Link>();
  let target = targetPort;
  const server = createServer((client) => {
    if (state.fault === 'cut') {
      client.resetAndDestroy();
      return;
    }
    const link = new Link(client, target, targetHost, state);
    links.add(link);
    client.once('close', () => links.delete(link));
  });
  const port = await listen(server);
  const cutAll = () => {
    for (const link of links) link.reset();
  };
  return {
    port,
    get connections() {
      return links.size;
    },
    get lostBytes() {
      return state.lostBytes;
    },
    url(target) {
      const through = new URL(target);
      through.host = `127.0.0.1:${port}`;
      return through.toString();
    },
    cut() {
      state.fault = 'cut';
      cutAll();
    },
    mute(direction = 'both') {
      state.fault = direction === 'both' ? 'mute' : 'mute answers';
    },
    delay(ms) {
      state.delayMs = ms;
    },
    hold() {
      state.held ??= new Promise((resolve) => {
        state.release = resolve;
      });
    },
    cutAfter(bytes) {
      for (const link of links) link.cutAfter(bytes);
    },
    moveTo(to) {
      target = to;
      cutAll();
    },
    heal() {
      state.fault = 'none';
      state.delayMs = 0;
      state.release();
      state.held = undefined;
    },
    close() {
      cutAll();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

/** One client and its connection to the server. */
class Link {
  readonly #client: Socket;
  readonly #upstream: Socket;
  readonly #state: State;
  #lostBytes = false;
  /** Bytes of answers it may still deliver. */
  #allowance = Number.POSITIVE_INFINITY;
  /** Ends when the last answer has left: a delay that shrinks must not let answers overtake each other. */
  #answers = Promise.resolve();

  constructor(client: Socket, port: number, host: string, state: State) {
    this.#client = client.setNoDelay(true);
    this.#upstream = new Socket().setNoDelay(true).connect(port, host);
    this.#state = state;
    client.on('data', (bytes) => this.#forward(bytes, this.#upstream, state.fault === 'mute'));
    this.#upstream.on('data', (bytes) => this.#later(() => this.#answer(bytes)));
    client.on('close', () => this.#upstream.destroy());
    // The end of a connection is news as well, and a mute one gets none.
    this.#upstream.on('close', () => this.#later(() => this.#lostBytes || this.#muteAnswers() || client.destroy()));
    for (const socket of [client, this.#upstream]) socket.on('error', () => {});
  }

  cutAfter(bytes: number): void {
    this.#allowance = bytes;
  }

  reset(): void {
    this.#client.resetAndDestroy();
    this.#upstream.destroy();
  }

  #muteAnswers(): boolean {
    return this.#state.fault === 'mute' || this.#state.fault === 'mute answers';
  }

  #answer(bytes: Buffer): void {
    const delivered = bytes.subarray(0, this.#allowance);
    this.#allowance -= delivered.length;
    this.#forward(delivered, this.#client, this.#muteAnswers());
    if (this.#allowance > 0) return;
    // No reset: that would take away what was just delivered, too.
    this.#client.end();
    this.#upstream.destroy();
  }

  #forward(bytes: Buffer, to: Socket, mute: boolean): void {
    this.#lostBytes ||= mute;
    if (this.#lostBytes) this.#state.lostBytes += bytes.length;
    else if (to.destroyed) this.reset();
    else to.write(bytes);
  }

  /** After the delay of this moment, and not before what came earlier. */
  #later(act: () => void): void {
    const due = performance.now() + this.#state.delayMs;
    this.#answers = this.#answers.then(async () => {
      const early = due - performance.now();
      if (early > 0) await sleep(early);
      await this.#state.held;
      act();
    });
  }
}

/** Ports below the kernel's range for outgoing connections; another one when somebody took it meanwhile. */
async function listen(server: Server): Promise<number> {
  for (;;) {
    const port = await freePort();
    const bound = await new Promise<boolean>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) =>
        error.code === 'EADDRINUSE' ? resolve(false) : reject(error),
      );
      server.listen(port, '127.0.0.1', () => resolve(true));
    });
    if (bound) return port;
  }
}
