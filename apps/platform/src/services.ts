import type { Service } from '@orrery/core/service';
import { auditLog } from '@orrery/audit-log';
import { decoder } from '@orrery/decoder';
import { deviceManager } from '@orrery/device-manager';
import { eventProcessing } from '@orrery/event-processing';
import { identity } from '@orrery/identity';
import { mqttConnector } from '@orrery/mqtt-connector';
import { pipeline } from '@orrery/pipeline';
import { routing } from '@orrery/routing';
import { search } from '@orrery/search';
import { store } from '@orrery/store';

/** Every service, in the order in which they start: what others ask comes before those who ask. */
export const services: Service[] = [
  identity,
  deviceManager,
  auditLog,
  store,
  search,
  routing,
  eventProcessing,
  pipeline,
  decoder,
  mqttConnector,
];
