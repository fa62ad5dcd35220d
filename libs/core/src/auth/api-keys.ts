import { createHash } from 'node:crypto';
import { type Bus, callRpc, defineRpc, VersionedCache } from '../bus/index.js';
import type { LimitValues } from '../limits/index.js';
import type { Role } from './roles.js';

/** What every service needs to know of an API key. The value itself is known to its holder alone. */
export interface ApiKeyIdentity {
  id: string;
  tenantId: string;
  roles: Role[];
  /** FIFOs that the key is restricted to; empty means no restriction (manual 4.3). */
  fifos: string[];
  /** Epoch milliseconds; the parents' bounds are already applied. */
  from?: number;
  to?: number;
  /** False when the key, one of its parents or its tenant is disabled. */
  active: boolean;
  /** Until when connections are logged, epoch milliseconds (manual 19.2). */
  debugUntil?: number;
  /** Client certificates (manual 6.3.4). */
  clientCert?: { caCertIds: string[]; required: boolean };
  /** What the tenant's offer sets; the rest are the defaults of chapter 23. */
  limits: LimitValues;
}

/** Answered by identity. `known` is null when no key has this hash. */
export const findApiKey = defineRpc<{ hash: string }, { key: ApiKeyIdentity | null }>('identity', 'findApiKey');

/** Kind of control event for a changed or deleted key: the header carries `ApiKeyChange`. */
export const API_KEY_CONTROL = 'apiKey';

export interface ApiKeyChange {
  tenantId: string;
  keyId: string;
  hash: string;
}

/** Keys are long and random, so a plain digest is enough to keep them unreadable and fast to find. */
export const hashApiKey = (value: string): string => createHash('sha256').update(value).digest('hex');

export type ApiKeyState = 'valid' | 'unknown' | 'invalid';

/** Looks keys up in memory; a change anywhere is heard at once. */
export class ApiKeys {
  private readonly cache: VersionedCache<{ key: ApiKeyIdentity | null }>;
  private readonly listeners = new Set<(change: ApiKeyChange | undefined) => void>();

  constructor(bus: Bus) {
    this.cache = new VersionedCache((hash) => callRpc(bus, findApiKey, { hash }), 50_000);
    bus.onControl(API_KEY_CONTROL, ({ header }) => {
      const change = JSON.parse(header) as ApiKeyChange;
      this.cache.invalidate(change.hash);
      for (const listener of this.listeners) listener(change);
    });
    bus.onReconnect(() => {
      this.cache.clear();
      for (const listener of this.listeners) listener(undefined);
    });
  }

  /** @throws RpcUnavailableError when identity cannot be asked. */
  async find(value: string): Promise<{ state: ApiKeyState; key?: ApiKeyIdentity; hash: string }> {
    const hash = hashApiKey(value);
    return { ...(await this.findByHash(hash)), hash };
  }

  async findByHash(hash: string): Promise<{ state: ApiKeyState; key?: ApiKeyIdentity }> {
    const { key } = await this.cache.get(hash);
    if (!key) return { state: 'unknown' };
    const now = Date.now();
    const valid = key.active && (key.from === undefined || now >= key.from) && (key.to === undefined || now < key.to);
    return { state: valid ? 'valid' : 'invalid', key };
  }

  /** Calls back for each changed key, and with undefined when changes may have been missed. */
  onChange(listener: (change: ApiKeyChange | undefined) => void): void {
    this.listeners.add(listener);
  }
}
