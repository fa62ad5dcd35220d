export { Bus, type BusOptions, connectNats } from './bus.js';
export { LeaseManager, type LeaseListener } from './leases.js';
export { NO_EFFECT, PartitionReader, type AfterCommit, type ReaderOptions } from './partition-reader.js';
export type { ReadItem } from './read-items.js';
export { OutboxRelay } from './outbox-relay.js';
export { deregisterReader, fence, FencedError, movePositions, type Position, purgeRead } from './positions.js';
export {
  BusUnavailableError,
  MessageTooLargeError,
  NUMBER_HEADER,
  ORIGIN_HEADER,
  PackingPublisher,
  type PublishReceipt,
} from './publisher.js';
export { callRpc, defineRpc, serveRpc, RpcError, RpcUnavailableError, type Rpc } from './rpc.js';
export { StreamPurger } from './stream-purger.js';
export * from './streams.js';
export { describeMessage } from './traced-items.js';
export { VersionedCache } from './versioned-cache.js';
