import type { Service } from '@orrery/core/service';

/** Decoders, and the decoding of what devices send in formats of their own (manual 11.3). */
export const decoder: Service = {
  name: 'decoder',
  schema: { name: 'decoder', entities: [], migrations: [] },
  restPaths: ['/api/v0/decoders'],
  build: () => ({ controllers: [], providers: [], running: [] }),
};
