import { type Bus, callRpc } from '@orrery/core/bus';
import { longestKept } from '@orrery/identity/contract';
import type { SearchEngine } from './search-engine.js';

const DAY_MS = 24 * 3600 * 1000;

/**
 * Removes what arrived before the longest time that any tenant's offer keeps it.
 * @throws RpcUnavailableError when identity can't be asked.
 */
export async function removeExpired(bus: Bus, engine: SearchEngine): Promise<void> {
  const { days } = await callRpc(bus, longestKept, { limit: 'searchDays' });
  if (days !== null) await engine.expire(new Date(Math.max(0, Date.now() - days * DAY_MS)).toISOString());
}
