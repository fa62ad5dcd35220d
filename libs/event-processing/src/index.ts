import type { Service } from '@orrery/core/service';

/** Rules, and the events that they fire (manual 17). */
export const eventProcessing: Service = {
  name: 'event-processing',
  schema: { name: 'event_processing', entities: [], migrations: [] },
  restPaths: ['/api/v0/eventprocessing', '/api/v1/eventprocessing'],
  build: () => ({ controllers: [], providers: [], running: [] }),
};
