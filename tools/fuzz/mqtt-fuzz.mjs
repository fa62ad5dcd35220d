import { once } from 'node:events';
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises';
import { sessionsOf, spoiled } from './mqtt-sessions.mjs';
import { seeded } from './random.mjs';

/** Longest life of a connection whose client has said all: keep alive, and what the server waits for CONNECT. */
const ENDS_WITHIN_MS = 30_000;

/**
 * @typedef {object} FuzzOptions
 * @property {(secure: boolean) => Promise<import('node:stream').Duplex>} open a connection for MQTT
 * @property {string} key API key with all roles
 * @property {number} seed
 * @property {number} packets
 * @property {number} [concurrency]
 * @property {(packets: number) => void} [onProgress]
 */

/**
 * Sends spoiled sessions, in pieces of any size, until so many packets are sent. Each connection must end.
 *
 * @param {FuzzOptions} options
 * @returns {Promise<{ packets: number, sessions: number, answered: number }>} `answered`: bytes that came back
 * @throws {Error} that names the session and its bytes when its connection did not end
 */
export async function fuzzMqtt({ open, key, seed, packets: wanted, concurrency = 20, onProgress = () => {} }) {
  let packets = 0;
  let sessions = 0;
  let answered = 0;

  const session = async () => {
    const number = sessions++;
    const random = seeded(seed * 1_000_003 + number);
    const { secure, packets: recorded } = random.pick(sessionsOf(key, `fuzz-${random.integer(100)}`));
    const said = spoiled(recorded, random);
    packets += said.length;
    const stream = await open(secure || random.chance(0.2));
    stream.on('error', () => {});
    stream.on('data', (/** @type {Buffer} */ data) => (answered += data.length));
    const closed = new Promise((resolve) => stream.once('close', resolve));
    /** Waits for an answer, or for the end, but not for long. @param {number} ms */
    const pause = async (ms) => {
      const waited = new AbortController();
      const late = delay(ms, undefined, { signal: waited.signal }).catch(() => {});
      await Promise.race([once(stream, 'data', { signal: waited.signal }).catch(() => {}), closed, late]);
      waited.abort();
    };
    /** @param {Buffer} bytes */
    const write = async (bytes) => {
      for (let at = 0; at < bytes.length && stream.writable;) {
        const size = random.chance(0.5) ? bytes.length : 1 + random.integer(64);
        stream.write(bytes.subarray(at, at + size));
        at += size;
        if (random.chance(0.3)) await turn();
      }
    };
    // Mostly the rest follows CONNACK, as it would be dropped with a connection that is not accepted yet.
    const [connect, ...rest] = said;
    await write(/** @type {Buffer} */ (connect));
    if (random.chance(0.9)) await pause(500);
    if (random.chance(0.05)) stream.pause();
    await write(Buffer.concat(rest));
    for (let i = random.integer(4); i >= 0 && !stream.destroyed; i--) await pause(50);
    if (random.chance(0.2)) stream.destroy();
    else stream.end();
    stream.resume();
    const late = new AbortController();
    const ended = await Promise.race([
      closed.then(() => true),
      delay(ENDS_WITHIN_MS, false, { signal: late.signal }).catch(() => true),
    ]);
    late.abort();
    stream.destroy();
    if (!ended)
      throw new Error(`session ${number} of seed ${seed} did not end: ${Buffer.concat(said).toString('hex')}`);
    onProgress(packets);
  };

  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      while (packets < wanted) await session();
    }),
  );
  return { packets, sessions, answered };
}

/**
 * @param {import('node:net').Socket} socket
 * @param {string} [event] that tells that it is connected
 */
export async function connected(socket, event = 'connect') {
  await once(socket, event);
  return socket;
}
