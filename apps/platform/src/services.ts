import type { Service } from '@orrery/core/service';
import { auditLog } from '@orrery/audit-log';
import { deviceManager } from '@orrery/device-manager';
import { identity } from '@orrery/identity';
import { mqttConnector } from '@orrery/mqtt-connector';
import { routing } from '@orrery/routing';
import { store } from '@orrery/store';

/** Every service, in the order in which they start: what others ask comes before those who ask. */
export const services: Service[] = [identity, deviceManager, auditLog, store, routing, mqttConnector];
