// Topics of device mode (manual 6.5.4), exact.

export const DATA_TOPIC = 'dev/data';
export const BINARY_TOPIC = 'dev/v1/data/binary';

/** Publications that answer the platform or report to it. */
export const REPORT_TOPICS: ReadonlySet<string> = new Set([
  'dev/cmd/res',
  'dev/cfg',
  'dev/rsc',
  'dev/rsc/upd/res',
  'dev/rsc/upd/err',
]);

/** Topics that a device subscribes to, and the capability that it announces by that. */
export const CAPABILITY_TOPICS: ReadonlyMap<string, string> = new Map([
  ['dev/cmd', 'command'],
  ['dev/cfg/upd', 'configuration'],
  ['dev/rsc/upd', 'resource'],
]);

/** The encoding in `dev/v1/data/binary/{encoding}`; null when the topic is another one. */
export function binaryEncoding(topic: string): string | undefined | null {
  if (topic === BINARY_TOPIC) return undefined;
  if (!topic.startsWith(`${BINARY_TOPIC}/`)) return null;
  const encoding = topic.slice(BINARY_TOPIC.length + 1);
  return encoding === '' || encoding.includes('/') ? null : encoding;
}
