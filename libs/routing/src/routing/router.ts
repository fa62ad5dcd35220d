import type { Audit } from '@orrery/core/audit';
import { type AfterCommit, type Bus, NO_EFFECT, PartitionReader, type ReadItem } from '@orrery/core/bus';
import type { Database } from '@orrery/core/database';
import type { Running } from '@orrery/core/service';
import type { EntityManager } from 'typeorm';
import type { ActionPoliciesService } from '../action-policies/action-policies.service.js';
import { type DeliveryArrival, enqueueDeliveries } from '../deliveries/delivery-queue.js';
import type { Sender } from '../deliveries/sender.js';
import { type Arrival, countEnqueued, enqueue } from '../fifos/queue.js';
import type { Wakes } from '../fifos/wakes.js';
import { routingMetrics } from '../metrics.js';
import { subjectOf } from './subject.js';
import { suspensionEntry } from './suspensions.js';
import { PolicyCache } from './tenant-policies.js';

/** How far the clocks of two machines may differ before a message counts as older than the policy (manual 14.1). */
const CLOCK_SKEW_MS = 1000;

/** Runs the action policies for each data message and event (manual 14). */
export class Router implements Running {
  private readonly policies: PolicyCache;
  private readonly reader: PartitionReader;

  constructor(
    private readonly bus: Bus,
    database: Database,
    private readonly audit: Audit,
    private readonly service: ActionPoliciesService,
    private readonly wakes: Wakes,
    private readonly sender: Sender,
  ) {
    this.policies = new PolicyCache(database);
    this.reader = new PartitionReader(bus, {
      name: 'routing',
      streams: ['READY', 'EVENTS'],
      database,
      handle: (items, manager) => this.route(items, manager),
    });
  }

  start(): Promise<void> {
    return this.reader.start();
  }

  stop(): Promise<void> {
    return this.reader.stop();
  }

  private async route(items: ReadItem[], manager: EntityManager): Promise<AfterCommit | typeof NO_EFFECT> {
    const subjects = items.map(subjectOf);
    const policies = await this.policies.of(manager, new Set(subjects.map((subject) => subject.tenantId)));
    const arrivals: Arrival[] = [];
    const deliveries: DeliveryArrival[] = [];
    for (const subject of subjects) {
      const { tenantId, time, storedId, traceparent } = subject;
      for (const policy of policies.get(tenantId)?.get(subject.type)?.matching(subject) ?? []) {
        // A message that does not say when it arrived counts as new.
        if (time !== undefined && time < policy.activeSince - CLOCK_SKEW_MS) continue;
        for (const fifoName of policy.fifoNames)
          arrivals.push({ tenantId, fifoName, body: subject.routed, traceparent });
        for (const each of policy.deliveries)
          deliveries.push({ tenantId, ...each, storedId, body: subject.routed, traceparent });
      }
    }
    if (arrivals.length === 0 && deliveries.length === 0) return NO_EFFECT;

    const enqueued = await enqueue(manager, arrivals);
    const { wakes, dropped: audited, found } = enqueued;
    const overflow = deliveries.length > 0 ? await enqueueDeliveries(manager, deliveries, this.bus.partitions) : [];
    for (const { entry } of overflow) audited.push(entry);
    const missing = new Map(
      arrivals.filter((_, i) => !found[i]).map((arrival) => [`${arrival.tenantId}\n${arrival.fifoName}`, arrival]),
    );
    for (const { tenantId, fifoName } of missing.values()) {
      const suspension = `The FIFO "${fifoName}" does not exist`;
      for (const id of await this.service.suspend(manager, tenantId, [fifoName], suspension))
        audited.push(suspensionEntry(tenantId, id, fifoName, suspension));
    }
    return () => {
      countEnqueued(enqueued);
      for (const { queue, count } of overflow) routingMetrics.dropped.inc({ queue }, count);
      this.wakes.send(wakes);
      this.sender.wake(deliveries);
      for (const entry of audited) this.audit.write(entry);
    };
  }
}
