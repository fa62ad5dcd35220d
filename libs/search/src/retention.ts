import type { Bus } from '@orrery/core/bus';
import { oldestKept } from '@orrery/identity/contract';
import type { SearchEngine } from './search-engine.js';

/** Removes what is older than any tenant's offer keeps it. */
export async function removeExpired(bus: Bus, engine: SearchEngine): Promise<void> {
  const oldest = await oldestKept(bus, 'searchDays');
  if (oldest) await engine.expire(oldest.toISOString());
}
