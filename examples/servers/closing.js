// @ts-check
/** What has to be closed, the last opened first, however the demo ends. */
import { constants } from 'node:os';

export class Closing {
  /** @type {(() => unknown)[]} */
  #closers = [];
  /** @type {Promise<void> | undefined} */
  #closed;

  get begun() {
    return this.#closed !== undefined;
  }

  /** @param {() => unknown} close */
  add(close) {
    this.#closers.push(close);
  }

  /** Ctrl-C, and its relatives. A second one ends the process at once. */
  onSignals() {
    for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
      process.once(signal, async () => {
        await this.close();
        process.exit(128 + constants.signals[signal]);
      });
    }
    // Whoever reads our output has left, as in `npm start | head`. Each line still printed fails again.
    process.stdout.on('error', async () => {
      await this.close();
      process.exit(0);
    });
  }

  close() {
    this.#closed ??= this.#closeAll();
    return this.#closed;
  }

  async #closeAll() {
    for (let close = this.#closers.pop(); close !== undefined; close = this.#closers.pop()) {
      try {
        await close();
      } catch (error) {
        console.error(`demo: ${error instanceof Error ? error.message : error}`);
        process.exitCode = 1;
      }
    }
  }
}
