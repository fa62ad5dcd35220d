/** Name of the store's reader: others wait for its positions. */
export const STORE_READER = 'store';

export {
  type ArrivalCursor,
  type ArrivalRange,
  type ArrivedPage,
  countArrived,
  readArrived,
} from './messages/arrived.js';
export {
  isDataMessage,
  parseReplay,
  replay,
  type ReplayEnd,
  type ReplayRange,
  type Stored,
} from './messages/replay.js';
