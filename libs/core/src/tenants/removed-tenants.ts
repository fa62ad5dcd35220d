import { defineRpc } from '../bus/rpc.js';

/** Kind of control event: a tenant has been removed. */
export const TENANT_CONTROL = 'tenant';

export interface RemovedTenant {
  /** Grows with each removed tenant. */
  seq: number;
  tenantId: string;
  /** Epoch milliseconds. */
  removed: number;
}

/** Answered by identity: tenants that have been removed for good, in the order of `seq`, some at a time. */
export const removedTenants = defineRpc<{ after: number }, RemovedTenant[]>('identity', 'removedTenants');
