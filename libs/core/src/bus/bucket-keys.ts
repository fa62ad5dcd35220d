import type { Bus } from './bus.js';

/**
 * Keys of a bucket that match the filter, in one answer; deleted ones too, until they are purged. The client's own list
 * is read key by key from a consumer that stays on the server for minutes, and ends early without an error when the
 * server is slow.
 */
export async function bucketKeys(bus: Bus, bucket: string, filter: string): Promise<string[]> {
  const prefix = `$KV.${bucket}.`;
  const { state } = await bus.jsm.streams.info(`KV_${bucket}`, { subjects_filter: prefix + filter });
  return Object.keys(state.subjects ?? {}).map((subject) => subject.slice(prefix.length));
}

/** Removes a key and leaves no trace of it: what `bucketKeys` lists is there. */
export async function purgeKey(bus: Bus, bucket: string, key: string): Promise<void> {
  await bus.jsm.streams.purge(`KV_${bucket}`, { filter: `$KV.${bucket}.${key}` });
}
