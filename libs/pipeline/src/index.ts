import type { Service } from '@orrery/core/service';

/** Custom pipelines, which have messages transformed by external services (manual 11.4). */
export const pipeline: Service = {
  name: 'pipeline',
  schema: { name: 'pipeline', entities: [], migrations: [] },
  restPaths: ['/api/v0/pipelines'],
  build: () => ({ controllers: [], providers: [], running: [] }),
};
