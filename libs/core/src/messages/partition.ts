/**
 * Stable partition of a tenant's device, or of a stream when there is no device (FNV-1a, 32 bits).
 * All messages of one key pass through one partition, which keeps their order.
 */
export function partitionOf(tenantId: string, key: string, partitions: number): number {
  let hash = 0x811c9dc5;
  const text = `${tenantId}\n${key}`;
  for (let i = 0; i < text.length; i++) {
    hash ^= text.charCodeAt(i);
    hash = Math.imul(hash, 0x01000193);
  }
  return (hash >>> 0) % partitions;
}
