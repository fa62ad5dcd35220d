import type { Database } from '@orrery/core/database';
import { counter, histogram, measuring, scrapedGauge } from '@orrery/core/telemetry';

export const pipelineMetrics = {
  messages: counter(
    'orrery_pipeline_messages_total',
    'Messages that a pipeline was to handle. Outcome: transformed, failed, overflow (too many wait), skipped (disabled meanwhile)',
    ['outcome'],
  ),
  seconds: histogram('orrery_pipeline_seconds', 'Time of all steps of a pipeline for one message'),
  waiting: scrapedGauge('orrery_pipeline_waiting_messages', 'Messages that wait for their pipeline'),
};

export const measuringWaiting = (database: Database): ReturnType<typeof measuring> =>
  measuring(async () => {
    const [row] = await database.query<{ waiting: string }>(
      'SELECT coalesce(sum(waiting), 0) AS waiting FROM pipelines',
    );
    return () => pipelineMetrics.waiting.set(Number(row!.waiting));
  });
