import type { AuditEntry } from '@orrery/core/audit';
import { type AfterCommit, type Bus, PartitionReader, type ReadItem } from '@orrery/core/bus';
import { forward } from '@orrery/core/ingestion';
import { LIMITS } from '@orrery/core/limits';
import { type DataMessage, type MessageHeader, partitionKey } from '@orrery/core/messages';
import type { Running } from '@orrery/core/service';
import type { EntityManager } from 'typeorm';
import { measuringWaiting, pipelineMetrics } from '../metrics.js';
import { overflowEntry } from './audit-entries.js';
import { Transformer, type TransformerParts } from './transformer.js';
import { type Arrival, enqueue } from './waiting-messages.js';

/** Reads TRANSFORM: what a pipeline handles waits for it, everything else goes on at once (manual 11.4). */
export class TransformationStage implements Running {
  private readonly reader: PartitionReader;
  private readonly transformer: Transformer;
  private readonly measuring: Running;

  constructor(
    bus: Bus,
    private readonly parts: TransformerParts,
  ) {
    this.reader = new PartitionReader(bus, {
      name: 'pipeline',
      streams: ['TRANSFORM'],
      handsOn: true,
      database: parts.database,
      handle: (items, manager) => this.admit(items, manager),
    });
    this.measuring = measuringWaiting(parts.database);
    this.transformer = new Transformer(parts, () => this.reader.partitions);
  }

  async start(): Promise<void> {
    await this.measuring.start();
    await this.reader.start();
    this.transformer.start();
  }

  async stop(): Promise<void> {
    await this.transformer.stop();
    await this.reader.stop();
    await this.measuring.stop();
  }

  private async admit(items: ReadItem[], manager: EntityManager): Promise<AfterCommit> {
    const read = items.map((item) => ({ ...item, header: JSON.parse(item.header) as MessageHeader }));
    const pipelines = await this.parts.pipelines.of(manager, new Set(read.map(({ header }) => header.tenantId)));
    const arrivals: Arrival[] = [];
    const handled = new Map<(typeof read)[number], { message: DataMessage; pipelineId: string; index: number }>();
    for (const item of read) {
      const candidates = pipelines.get(item.header.tenantId) ?? [];
      if (candidates.length === 0) continue;
      const message = JSON.parse(item.body) as DataMessage;
      const pipeline = candidates.find(({ passes }) => passes(message));
      if (!pipeline) continue;
      handled.set(item, { message, pipelineId: pipeline.id, index: arrivals.length });
      arrivals.push({
        tenantId: item.header.tenantId,
        pipelineId: pipeline.id,
        partition: item.partition,
        key: partitionKey(item.header),
        header: JSON.stringify(item.header),
        body: item.body,
      });
    }
    const max = LIMITS.pipelineBuffer.value;
    const admissions = await enqueue(manager, arrivals, max);
    const entries: AuditEntry[] = [];
    const onward = read.filter((item) => {
      const { message, pipelineId, index } = handled.get(item) ?? {};
      const admission = index === undefined ? 'gone' : admissions[index];
      if (admission === 'full') entries.push(overflowEntry(item.header, message!, pipelineId!, max));
      return admission !== 'waits';
    });
    for (const partition of new Set(onward.map((item) => item.partition)))
      await forward(
        manager,
        partition,
        onward.filter((item) => item.partition === partition),
      );
    return () => {
      this.transformer.wake(new Set(arrivals.map(({ tenantId }) => tenantId)));
      pipelineMetrics.messages.inc({ outcome: 'overflow' }, entries.length);
      for (const entry of entries) this.parts.audit.write(entry);
    };
  }
}
