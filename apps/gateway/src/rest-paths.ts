import { auditLog } from '@orrery/audit-log';
import { deviceManager } from '@orrery/device-manager';
import { identity } from '@orrery/identity';
import { routing } from '@orrery/routing';
import { store } from '@orrery/store';

/** Paths of the REST API by the service that answers them. */
export const restPaths: Record<string, string[]> = Object.fromEntries(
  [identity, deviceManager, auditLog, store, routing].map((service) => [service.name, service.restPaths]),
);
