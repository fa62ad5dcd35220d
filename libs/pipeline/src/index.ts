import { JourneyAnswers } from '@orrery/core/journey';
import { Secrets } from '@orrery/core/secrets';
import type { Service } from '@orrery/core/service';
import type { WebhookRules } from '@orrery/core/webhooks';
import { SERVICE } from './contract.js';
import { Pipelines1700001000000 } from './migrations.js';
import { journeySteps } from './pipelines/journey.js';
import { Pipeline } from './pipelines/pipeline.entity.js';
import { PipelinesController } from './pipelines/pipelines.controller.js';
import { PipelinesService } from './pipelines/pipelines.service.js';
import { STEP_RULES } from './transformation/external-transformation.js';
import { PipelineCache } from './transformation/pipeline-cache.js';
import { TransformationStage } from './transformation/transformation-stage.js';

/** @param rules how steps call their servers. */
export const pipelineWith = (rules: WebhookRules): Service => ({
  name: 'pipeline',
  schema: { name: 'pipeline', entities: [Pipeline], migrations: [Pipelines1700001000000] },
  restPaths: ['/api/v0/pipelines'],
  build({ bus, database, audit, webhooks, config, logger, roles }) {
    const secrets = new Secrets(config);
    const service = new PipelinesService(database, secrets, webhooks);
    const pipelines = new PipelineCache(database, secrets);
    return {
      controllers: [PipelinesController],
      providers: [{ token: PipelinesService, value: service }],
      running: [
        new JourneyAnswers(bus, SERVICE, (question) => journeySteps(database, question)),
        ...(roles.worker
          ? [
              new TransformationStage(bus, {
                database,
                audit,
                webhooks,
                pipelines,
                rules,
                logger,
                tracing: bus.tracing,
              }),
            ]
          : []),
      ],
    };
  },
});

/** Custom pipelines, which have messages transformed by external services (manual 11.4). */
export const pipeline: Service = pipelineWith(STEP_RULES);
