import { randomUUID } from 'node:crypto';
import type { Database } from '@orrery/core/database';
import { ApiError, invalidParameter } from '@orrery/core/http';
import { writeStageFilters } from '@orrery/core/ingestion';
import { type LimitValues, limitOf } from '@orrery/core/limits';
import type { Secrets } from '@orrery/core/secrets';
import type { WebhookHeaders, Webhooks } from '@orrery/core/webhooks';
import type { EntityManager } from 'typeorm';
import { parsePipeline, type PipelineDocument, type Step } from './pipeline-document.js';
import type { PipelineDto } from './pipeline.dto.js';
import { Pipeline } from './pipeline.entity.js';

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Custom pipelines as their tenant configures them (manual 11.4.2). */
export class PipelinesService {
  constructor(
    private readonly database: Database,
    private readonly secrets: Secrets,
    private readonly webhooks: Webhooks,
  ) {}

  async list(tenantId: string): Promise<PipelineDto[]> {
    const pipelines = await pipelinesOf(this.database.manager, tenantId);
    return pipelines.map((pipeline) => this.toDto(pipeline));
  }

  async get(tenantId: string, id: string): Promise<PipelineDto> {
    return this.toDto(await this.find(this.database.manager, tenantId, id));
  }

  create(tenantId: string, limits: LimitValues, body: unknown): Promise<PipelineDto> {
    const document = parsePipeline(body, this.webhooks);
    return this.change(tenantId, async (manager) => {
      const max = limitOf(limits, 'pipelines');
      const others = await pipelinesOf(manager, tenantId);
      if (others.length >= max) throw new ApiError('GENERIC_QUOTA_EXCEEDED_ERROR', `at most ${max} pipelines`);
      const id = randomUUID();
      // Strictly: the older of two comes first.
      const created = new Date(Math.max(Date.now(), ...others.map((other) => other.created.getTime() + 1)));
      const pipeline = manager.create(Pipeline, {
        tenantId,
        id,
        ...this.fieldsOf(tenantId, id, document),
        created,
      });
      await manager.insert(Pipeline, pipeline);
      return this.toDto(pipeline);
    });
  }

  update(tenantId: string, id: string, body: unknown): Promise<PipelineDto> {
    const document = parsePipeline(body, this.webhooks);
    if (document.id !== undefined && document.id !== id) throw invalidParameter('id', 'the id of the path, or no id');
    return this.change(tenantId, async (manager) => {
      const pipeline = await this.find(manager, tenantId, id);
      const fields = this.fieldsOf(tenantId, pipeline.id, document);
      await manager.update(Pipeline, { tenantId, id: pipeline.id }, fields);
      return this.toDto(Object.assign(pipeline, fields));
    });
  }

  async delete(tenantId: string, id: string): Promise<void> {
    await this.change(tenantId, async (manager) => {
      await manager.remove(await this.find(manager, tenantId, id));
    });
  }

  /** Changes a tenant's pipelines, one change at a time, and tells connectors which messages they are for. */
  private change<Result>(tenantId: string, work: (manager: EntityManager) => Promise<Result>): Promise<Result> {
    return this.database.transaction(async (manager) => {
      await manager.query(
        `INSERT INTO pipeline_versions AS p (tenant_id, version) VALUES ($1, 1)
         ON CONFLICT (tenant_id) DO UPDATE SET version = p.version + 1`,
        [tenantId],
      );
      const result = await work(manager);
      const enabled = (await pipelinesOf(manager, tenantId)).filter((pipeline) => pipeline.enabled);
      await writeStageFilters(
        manager,
        'TRANSFORM',
        tenantId,
        enabled.map(({ filter }) => filter ?? {}),
      );
      return result;
    });
  }

  private async find(manager: EntityManager, tenantId: string, id: string): Promise<Pipeline> {
    const pipeline = UUID.test(id) ? await manager.findOneBy(Pipeline, { tenantId, id: id.toLowerCase() }) : null;
    if (!pipeline) throw new ApiError('NOT_FOUND', `no pipeline ${id}`);
    return pipeline;
  }

  private fieldsOf(
    tenantId: string,
    id: string,
    document: PipelineDocument,
  ): Omit<Pipeline, 'tenantId' | 'id' | 'created'> {
    const { id: _, steps, ...fields } = document;
    const headers = steps.map((step) => step.headers ?? null);
    return {
      ...fields,
      steps: steps.map(({ headers: _headers, ...step }) => step),
      headers: headers.some((each) => each !== null)
        ? this.secrets.seal(headerOwner(tenantId, id), JSON.stringify(headers))
        : null,
    };
  }

  // Headers are shown as they were given (manual 11.4.2): whoever may read pipelines reads, changes and writes them back.
  private toDto(pipeline: Pipeline): PipelineDto {
    const { id, name, description, priorityLevel, enabled, filter, created } = pipeline;
    return {
      id,
      name,
      ...(description === null ? {} : { description }),
      priorityLevel,
      enabled,
      ...(filter === null ? {} : { filter }),
      steps: stepsOf(pipeline, this.secrets),
      created: created.toISOString(),
    };
  }
}

const headerOwner = (tenantId: string, id: string): { tenantId: string; purpose: string } => ({
  tenantId,
  purpose: `pipeline:${id}`,
});

/** In the order in which they are tried (manual 11.4.2). */
export const pipelinesOf = (manager: EntityManager, tenantId: string): Promise<Pipeline[]> =>
  manager.find(Pipeline, { where: { tenantId }, order: { priorityLevel: 'ASC', created: 'ASC', id: 'ASC' } });

/** The steps with their headers. @throws Error when the headers were sealed with another key. */
export function stepsOf({ tenantId, id, steps, headers }: Pipeline, secrets: Secrets): Step[] {
  const opened =
    headers === null
      ? []
      : (JSON.parse(secrets.open(headerOwner(tenantId, id), headers)) as Array<WebhookHeaders | null>);
  return steps.map((step, i) => ({ ...step, ...(opened[i] ? { headers: opened[i] } : {}) }));
}
