export { Audit, type AuditEntry, type StoredAuditEntry } from './audit.js';
