import type { AccountType } from '@orrery/core/auth';
import { defineRpc } from '@orrery/core/bus';
import type { SectionContents } from '@orrery/core/limits';

/** A tenant account with its master API key (manual 4.1 and 4.3). */
export interface CreatedTenant {
  tenantId: string;
  masterKeyId: string;
  /** The value of the master key: not readable again. */
  masterKey: string;
}

export interface NewTenant {
  name: string;
  /** CUSTOMER when absent. */
  accountType?: AccountType;
  parentId?: string;
  /** Contents of its offer settings; the limits of an empty offer are the defaults of chapter 23. */
  settings?: SectionContents;
  /** Value of the master key; generated when absent. */
  masterKey?: string;
}

/**
 * Creates an active tenant account without user and subscriptions. Asked by whoever operates the platform, never by a
 * tenant: vendors create customers over REST.
 * @throws CONFLICT when the name is taken.
 */
export const createTenant = defineRpc<NewTenant, CreatedTenant>('identity', 'createTenant');

/**
 * The hash of a tenant's master key, for who belongs to the tenant without an API key: what is in force for the tenant is
 * in force for this key. It never changes.
 * @throws NOT_FOUND
 */
export const findMasterKey = defineRpc<{ tenantId: string }, { hash: string }>('identity', 'findMasterKey');

/**
 * The PEM of a CA certificate of the tenant. It never changes, and no key refers to one that is deleted: it may be kept.
 * @throws NOT_FOUND
 */
export const findCaCertificate = defineRpc<{ tenantId: string; id: string }, { certificate: string }>(
  'identity',
  'findCaCertificate',
);

/**
 * The most days that the offer of any tenant keeps something; null for ever. What is kept for all tenants together must not
 * be dropped before.
 */
export const longestKept = defineRpc<{ limit: 'dataDays' | 'searchDays' }, { days: number | null }>(
  'identity',
  'longestKept',
);
