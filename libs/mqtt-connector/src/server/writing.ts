import type { Duplex } from 'node:stream';

interface Writer {
  flush(): void;
}

// Written once per turn of the event loop, so that the answers of one entry of the bus share a system call.
let waiting: Writer[] = [];
function flushAll(): void {
  const writers = waiting;
  waiting = [];
  for (const writer of writers) writer.flush();
}

/** Lets the writer flush once in this turn of the event loop; it asks once. */
export function flushSoon(writer: Writer): void {
  if (waiting.length === 0) setImmediate(flushAll);
  waiting.push(writer);
}

/** What a client that does not read has until its socket is closed. */
const UNREAD_MS = 5000;
/** What a client has to close its side. */
const LINGER_MS = 2000;

/**
 * Ends a stream once what was written to it is sent.
 * @param lingers until the client has closed its side too: closed with bytes that nobody has read, the system would reset
 * the connection, and the client might miss what it was sent last.
 */
export function endStream(stream: Duplex, lingers: boolean): void {
  if (lingers) {
    stream.end();
    stream.resume();
  } else stream.end(() => stream.destroy());
  if (!stream.destroyed) setTimeout(() => stream.destroy(), lingers ? LINGER_MS : UNREAD_MS).unref();
}
