import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

// Below the range from which operating systems number outgoing connections (Linux: 32768 up), so that none of those
// takes the port between this check and the server's own bind.
const LOWEST = 20_000;
const HIGHEST = 30_000;

/** @type {Set<number>} */
const given = new Set();

/**
 * A TCP port on 127.0.0.1 that nothing listens on, and that this process has not been given before.
 *
 * @returns {Promise<number>}
 */
export async function freePort() {
  for (let attempt = 0; attempt < 200; attempt++) {
    const port = randomInt(LOWEST, HIGHEST);
    if (given.has(port) || !(await isFree(port))) continue;
    given.add(port);
    return port;
  }
  throw new Error(`No free TCP port on 127.0.0.1 between ${LOWEST} and ${HIGHEST}: 200 random ones were all taken.`);
}

/**
 * @param {number} port
 * @returns {Promise<boolean>}
 */
function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
