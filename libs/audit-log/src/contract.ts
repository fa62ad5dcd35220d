/** Name of the service's reader of the AUDIT stream. */
export const AUDIT_READER = 'audit-log';
