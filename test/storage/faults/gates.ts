/** Gates: what has arrived is held back there until the test lets it pass, so that a moment between two events lasts. */
import type { Redis } from 'ioredis';
import pg from 'pg';

export class Gate {
  #shut = false;
  #open = () => {};
  #opened: Promise<void> | undefined;

  /** How many wait here. */
  waiting = 0;

  /** From now on whoever comes has to wait. */
  shut(): void {
    this.#shut = true;
    this.#opened = new Promise((resolve) => {
      this.#open = resolve;
    });
  }

  /** Later ones pass; those who wait go on waiting. */
  leave(): void {
    this.#shut = false;
  }

  /** Everybody passes. */
  open(): void {
    this.#shut = false;
    this.#open();
  }

  async pass<T>(what: T): Promise<T> {
    if (!this.#shut) return what;
    this.waiting++;
    await this.#opened;
    this.waiting--;
    return what;
  }
}

/** A pool of a caller's whose loads are answered by the server, and held at the gate. */
export function gatedPool(url: string, max: number): { pool: pg.Pool; gate: Gate } {
  const gate = new Gate();
  class GatedClient extends pg.Client {
    override query(...args: unknown[]): never {
      const { name = '' } = args[0] as { name?: string };
      const answer = (super.query as (...args: unknown[]) => Promise<unknown>)(...args);
      return (name.startsWith('lora_store_load') ? answer.then((rows) => gate.pass(rows)) : answer) as never;
    }
  }
  const pool = new pg.Pool({ connectionString: url, max, Client: GatedClient as unknown as new () => pg.Client });
  return { pool, gate };
}

/** Reads of this client are answered by the server, and held at the gate. */
export function gateReads(client: Redis): Gate {
  const gate = new Gate();
  const read = client.getBuffer.bind(client) as (key: string) => Promise<Buffer | null>;
  client.getBuffer = ((key: string) => read(key).then((value) => gate.pass(value))) as typeof client.getBuffer;
  return gate;
}
