// @ts-check
/** The process that forked this one, if any did: what it is told, and when it has gone. */

/** Who has gone meanwhile need not hear it. @param {object} message */
export function tellParent(message) {
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
}

/** Calls back once, though it be gone already; never where there is none. @param {() => void} gone */
export function onParentGone(gone) {
  if (process.send === undefined) return;
  if (process.connected) process.once('disconnect', gone);
  else gone();
}
