export { type RemovedTenant, removedTenants, TENANT_CONTROL } from './removed-tenants.js';
export { TenantRemoval } from './tenant-removal.js';
