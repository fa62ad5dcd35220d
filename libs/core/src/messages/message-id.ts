import { randomBytes } from 'node:crypto';

// 24 hex digits: 12 of milliseconds, 4 of a counter, 8 random per process. Ids of one process grow strictly, and
// the arrival time of a message can be read from its id, so that a look-up by id touches one month's partition only.
const instance = randomBytes(4).toString('hex');
let lastTime = 0;
let counter = 0;

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');

/** A new message id; its time is the arrival time `created`. */
export function newMessageId(now = Date.now()): string {
  if (now > lastTime) {
    lastTime = now;
    counter = 0;
  } else if (++counter > 0xffff) {
    lastTime++;
    counter = 0;
  }
  return hex(lastTime, 12) + hex(counter, 4) + instance;
}

/**
 * Id of the message of this rank, when a message is split into several: they have arrived when it did, and its own id is
 * that of rank 0. The same at each time that it is split.
 */
export function splitMessageId(id: string, rank: number): string {
  return id.slice(0, 16) + hex((Number.parseInt(id.slice(16), 16) + rank) % 2 ** 32, 8);
}

/** Arrival time of the message with this id. */
export function messageTime(id: string): Date {
  return new Date(Number.parseInt(id.slice(0, 12), 16));
}

export const isMessageId = (text: string): boolean => /^[0-9a-f]{24}$/.test(text);
