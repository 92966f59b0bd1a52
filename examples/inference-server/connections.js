// @ts-check
/**
 * The connections of a server that closes. Promises: each ends when its client has its answer, and all in time.
 * @import { Server } from 'node:http'
 * @import { Socket } from 'node:net'
 */

/**
 * Returns what ends them, for a server that is about to close.
 * @param {Server} server
 */
export function connectionsOf(server) {
  /** @type {Set<Socket>} */
  const sockets = new Set();
  server.on('connection', (/** @type {Socket} */ socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  const closeIdle = server.closeIdleConnections.bind(server);

  return (/** @type {number} */ withinMs) => {
    // Node ends what is idle when it closes, and takes for idle whom all is written to, though a slow client has not fetched
    // it yet. It ends all of them or none: nobody is kept longer than by that client.
    server.closeIdleConnections = () => {
      if (![...sockets].some(({ writableLength }) => writableLength > 0)) closeIdle();
    };
    // Once is not enough: those whose last answer is under way then are idle later.
    const sweep = setInterval(() => server.closeIdleConnections(), 50);
    // Half a request needs no token, and must not take the time of what was accepted.
    const end = setTimeout(() => server.closeAllConnections(), withinMs);
    server.once('close', () => {
      clearInterval(sweep);
      clearTimeout(end);
    });
  };
}
