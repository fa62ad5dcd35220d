import { VersionedCache } from '@orrery/core/bus';
import type { Database } from '@orrery/core/database';
import { compileMessageFilter, type DataMessage } from '@orrery/core/messages';
import type { Secrets } from '@orrery/core/secrets';
import type { EntityManager } from 'typeorm';
import type { Step } from '../pipelines/pipeline-document.js';
import { pipelinesOf, stepsOf } from '../pipelines/pipelines.service.js';

/** An enabled pipeline, ready to run. */
export interface CompiledPipeline {
  id: string;
  passes(message: DataMessage): boolean;
  /** @throws Error when the headers cannot be opened: only those who call need them. */
  steps(): readonly Step[];
}

/**
 * The enabled pipelines of the tenants in hand, compiled once per version, in the order in which they are tried. The
 * version is read in the transaction of each batch, so that a change is in force for every message that comes after its
 * answer, on every instance.
 */
export class PipelineCache {
  private readonly compiled: VersionedCache<readonly CompiledPipeline[]>;

  constructor(
    private readonly database: Database,
    private readonly secrets: Secrets,
  ) {
    this.compiled = new VersionedCache((key) => this.load(key.slice(key.indexOf(' ') + 1)), 20_000);
  }

  /** @returns no entry for tenants that never had a pipeline. */
  async of(
    manager: EntityManager,
    tenantIds: Iterable<string>,
  ): Promise<ReadonlyMap<string, readonly CompiledPipeline[]>> {
    const versions = (await manager.query(
      'SELECT tenant_id, version FROM pipeline_versions WHERE tenant_id = ANY($1::text[])',
      [[...tenantIds]],
    )) as Array<{ tenant_id: string; version: string }>;
    return new Map(
      await Promise.all(
        versions.map(
          async (row) => [row.tenant_id, await this.compiled.get(`${row.version} ${row.tenant_id}`)] as const,
        ),
      ),
    );
  }

  private async load(tenantId: string): Promise<readonly CompiledPipeline[]> {
    const pipelines = await pipelinesOf(this.database.manager, tenantId);
    return pipelines
      .filter(({ enabled }) => enabled)
      .map((pipeline) => {
        const passes = compileMessageFilter(pipeline.filter ?? {});
        let steps: readonly Step[] | undefined;
        return {
          id: pipeline.id,
          passes: ({ metadata, tags }) =>
            passes({
              connectors: [metadata.connector],
              encoding: metadata.encoding,
              groupPath: metadata.group?.path,
              tags,
            }),
          steps: () => (steps ??= stepsOf(pipeline, this.secrets)),
        };
      });
  }
}
