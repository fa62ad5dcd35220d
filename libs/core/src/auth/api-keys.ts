import { createHash } from 'node:crypto';
import { type Bus, callRpc, defineRpc, VersionedCache } from '../bus/index.js';
import type { LimitValues } from '../limits/index.js';
import type { Role } from './roles.js';

/** Customers manage devices, vendors manage customers, the administrator manages vendors and offers (manual 21.1). */
export const ACCOUNT_TYPES = ['CUSTOMER', 'VENDOR', 'ADMIN'] as const;
export type AccountType = (typeof ACCOUNT_TYPES)[number];

/** What every service needs to know of an API key. The value itself is known to its holder alone. */
export interface ApiKeyIdentity {
  id: string;
  tenantId: string;
  accountType: AccountType;
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
  /** Of a key that was issued by a login: it ends `ttlMs` after its last use (manual 4.2). */
  session?: { userId: string; ttlMs: number };
  /** What the tenant's offer sets; the rest are the defaults of chapter 23. */
  limits: LimitValues;
  /** Sections of the offer settings that are switched off (manual 21.2). */
  disabledSections: string[];
  /** Server phone numbers of the offer, in their order (manual 5.5.2.1). */
  smsNumbers: string[];
}

/** Answered by identity. `known` is null when no key has this hash. */
export const findApiKey = defineRpc<{ hash: string }, { key: ApiKeyIdentity | null }>('identity', 'findApiKey');

/** Answered by identity: the key of a login was used. Nothing happens when it has ended. */
export const extendSession = defineRpc<{ hash: string }, Record<string, never>>('identity', 'extendSession');

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

  constructor(private readonly bus: Bus) {
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

  /**
   * A key of a login was used: its end moves. Identity is asked once per tenth of the session's length, not at each use;
   * the end that it sets has that tenth added, so that no session ends too early.
   */
  async extend(hash: string, { session, to }: ApiKeyIdentity): Promise<void> {
    if (session && to !== undefined && to - Date.now() < session.ttlMs)
      await callRpc(this.bus, extendSession, { hash });
  }

  /** Calls back for each changed key, and with undefined when changes may have been missed. */
  onChange(listener: (change: ApiKeyChange | undefined) => void): void {
    this.listeners.add(listener);
  }
}
