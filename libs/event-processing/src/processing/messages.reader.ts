import type { Audit } from '@orrery/core/audit';
import { type Bus, NO_EFFECT, PartitionReader, type ReadItem } from '@orrery/core/bus';
import type { Database } from '@orrery/core/database';
import type { MessageHeader } from '@orrery/core/messages';
import type { Logger } from '@orrery/core/telemetry';
import type { EntityManager } from 'typeorm';
import { ContextCache } from '../contexts/context-cache.js';
import { RULES_READER } from '../contract.js';
import { ruleMetrics } from '../metrics.js';
import { versionsOf } from '../versions.js';
import { Batch, Incoming } from './batch.js';
import { DatabaseEffects } from './database-effects.js';
import { processSimpleEvents } from './simple-events.js';
import { processStates } from './state-changes.js';
import { RuleCache, type TenantRules } from './tenant-rules.js';

function count({ evaluations, failures, evaluatedMs, firings }: Batch['counts']): void {
  ruleMetrics.evaluations.inc(evaluations);
  ruleMetrics.failures.inc(failures);
  ruleMetrics.evaluationSeconds.observe(evaluatedMs / 1000);
  for (const [type, fired] of firings) ruleMetrics.firings.inc({ type }, fired);
}

/** Applies rules to data messages: guards, states and events are written in the transaction that moves the positions. */
export function messagesReader(bus: Bus, database: Database, audit: Audit, logger: Logger): PartitionReader {
  const rules = new RuleCache(database, logger);
  const contexts = new ContextCache();

  /** The messages of tenants that have enabled rules; the others are not even parsed. */
  async function incomingOf(items: ReadItem[], manager: EntityManager): Promise<Incoming[]> {
    const headers = items.map((item) => item.headerAs<MessageHeader>());
    const versions = await versionsOf(manager, new Set(headers.map(({ tenantId }) => tenantId)));
    if (versions.length === 0) return [];
    const tenants = new Map<string, TenantRules>();
    for (const { tenantId, rules: version } of versions) {
      const tenant = await rules.get(tenantId, version);
      if (tenant.matching.length > 0 || tenant.states.length > 0) tenants.set(tenantId, tenant);
    }
    const context = await contexts.of(
      manager,
      versions.filter(({ tenantId }) => tenants.has(tenantId)),
    );
    return headers.flatMap((header, i) => {
      const tenant = tenants.get(header.tenantId);
      return tenant ? [new Incoming(i, header, items[i]!.body, tenant, context.get(header.tenantId)!)] : [];
    });
  }

  return new PartitionReader(bus, {
    name: RULES_READER,
    streams: ['READY'],
    handsOn: true,
    database,
    async handle(items, manager) {
      const messages = await incomingOf(items, manager);
      if (messages.length === 0) return NO_EFFECT;
      const effects = new DatabaseEffects(manager, bus.partitions);
      const batch = new Batch(effects, messages);
      await processSimpleEvents(batch);
      await processStates(batch);
      await batch.flush();
      const { failures, counts } = batch;
      if (!effects.written && failures.length === 0) {
        count(counts);
        return NO_EFFECT;
      }
      return () => {
        count(counts);
        failures.forEach((entry) => audit.write(entry));
      };
    },
  });
}
