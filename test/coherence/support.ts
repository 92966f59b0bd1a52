/** What the ear and the bus of a test said, written down. */
export interface Heard {
  readonly userId: string;
  readonly adapterName: string;
  readonly revision: number;
}

export class Notes {
  readonly heard: Heard[] = [];
  /** 'live' and 'lost', in order. */
  readonly states: string[] = [];
  readonly causes: Error[] = [];

  readonly events = {
    heard: (userId: string, adapterName: string, revision: number) => {
      this.heard.push({ userId, adapterName, revision });
    },
    live: () => {
      this.states.push('live');
    },
    lost: (cause: Error) => {
      this.states.push('lost');
      this.causes.push(cause);
    },
    echoed: () => undefined,
  };

  count(state: 'live' | 'lost'): number {
    return this.states.filter((other) => other === state).length;
  }
}
