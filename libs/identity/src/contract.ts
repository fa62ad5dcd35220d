import { defineRpc } from '@orrery/core/bus';
import type { LimitValues } from '@orrery/core/limits';

/** A tenant account with its master API key (manual 4.1 and 4.3). */
export interface CreatedTenant {
  tenantId: string;
  masterKeyId: string;
  /** The value of the master key: not readable again. */
  masterKey: string;
}

/**
 * Creates a tenant account. Asked by the bootstrap and by whoever manages tenants, never by a tenant.
 * @throws CONFLICT when the name is taken.
 */
export const createTenant = defineRpc<{ name: string; limits?: LimitValues; masterKey?: string }, CreatedTenant>(
  'identity',
  'createTenant',
);
