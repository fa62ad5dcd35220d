import { randomBytes } from 'node:crypto';
import {
  type ApiKeyIdentity,
  type ApiKeyChange,
  API_KEY_CONTROL,
  findApiKey,
  hashApiKey,
  ROLES,
  type Role,
} from '../auth/index.js';
import { type Bus, controlSubject, serveRpc } from '../bus/index.js';
import { limitsOf, newSettings } from '../limits/index.js';
import { encodeEntry } from '../messages/index.js';

/** Speaks as identity on the bus, for tests of one service that needs keys and not identity itself. */
export interface KeyRing {
  /**
   * A key of the tenant, with all roles unless told otherwise. Without `limits` its offer is the default one without rate
   * limiting of HTTP and searches, as tests ask again and again until something holds.
   */
  grant(
    tenantId: string,
    options?: Partial<Omit<ApiKeyIdentity, 'id' | 'tenantId'>> & { roles?: Role[] },
  ): { id: string; value: string };
  /** Changes a key and announces it, as identity does; null deletes it. */
  change(value: string, change: Partial<ApiKeyIdentity> | null): void;
}

const UNRATED = { ...limitsOf(newSettings({ http: { rateLimiting: false } })), searchMs: null };

export function keyRing(bus: Bus): KeyRing {
  const keys = new Map<string, ApiKeyIdentity>();
  serveRpc(bus, findApiKey, ({ hash }) => ({ key: keys.get(hash) ?? null }));
  return {
    grant(tenantId, options = {}) {
      const value = randomBytes(16).toString('hex');
      const id = randomBytes(12).toString('hex');
      keys.set(hashApiKey(value), {
        id,
        tenantId,
        accountType: 'CUSTOMER',
        roles: [...ROLES],
        fifos: [],
        active: true,
        limits: UNRATED,
        disabledSections: [],
        smsNumbers: [],
        ...options,
      });
      return { id, value };
    },
    change(value, change) {
      const hash = hashApiKey(value);
      const key = keys.get(hash);
      if (!key) throw new Error('no such key');
      if (change) keys.set(hash, { ...key, ...change });
      else keys.delete(hash);
      const header: ApiKeyChange = { tenantId: key.tenantId, keyId: key.id, hash };
      bus.connection.publish(
        controlSubject(API_KEY_CONTROL),
        encodeEntry([{ header: JSON.stringify(header), body: '{}' }]),
      );
    },
  };
}
