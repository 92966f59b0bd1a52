/** Servers that a test starts several of: where one of them fails, or what is made of them, none is left running. */

interface Stoppable {
  stop(): Promise<void>;
}

/** All of what is being started; where one fails, those that did start are stopped before its error is thrown. */
export async function allStarted<Server extends Stoppable>(starting: readonly Promise<Server>[]): Promise<Server[]> {
  const outcomes = await Promise.allSettled(starting);
  const started = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
  const failed = outcomes.find((outcome) => outcome.status === 'rejected');
  return await builtOn(started, async () => {
    if (failed !== undefined) throw failed.reason;
    return started;
  });
}

/** What `build` makes of servers that run; where it fails, they are stopped before its error is thrown. */
export async function builtOn<Built>(servers: readonly Stoppable[], build: () => Promise<Built>): Promise<Built> {
  try {
    return await build();
  } catch (error) {
    await Promise.all(servers.map((server) => server.stop()));
    throw error;
  }
}
