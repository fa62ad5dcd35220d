import type { Service } from '@orrery/core/service';

/** The index of messages, and searches in it (manual 13.3). */
export const search: Service = {
  name: 'search',
  schema: { name: 'search', entities: [], migrations: [] },
  restPaths: ['/api/v0/data/search', '/api/v1/data/search'],
  build: () => ({ controllers: [], providers: [], running: [] }),
};
