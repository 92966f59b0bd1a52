/** A process that uses an embedded server; support.ts starts it. */
const { startShared } = await import(process.env.EMBEDDED_MODULE);
const handles = [];

/** From here on as another user, without any group of the old one. */
export function become(uid) {
  process.setgroups([]);
  process.setgid(uid);
  process.setuid(uid);
}

export async function start(directory, settings) {
  const handle = await startShared(directory, settings);
  handles.push(handle);
  const { url, adopted } = handle;
  return { url, adopted };
}

export async function stop() {
  await handles.shift().stop();
}

/** Returns at once; the test kills us in the middle of it. */
export function beginStart(directory) {
  startShared(directory).catch((error) => process.stderr.write(`${error}\n`));
}
