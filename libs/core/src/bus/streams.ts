import {
  DiscardPolicy,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
  type JetStreamManager,
  type StreamConfig,
} from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';
import type { NatsConnection } from '@nats-io/transport-node';
import type { Stage } from '../messages/index.js';

/** Streams with one stream per partition. */
export type PartitionedStream = 'READY' | 'DECODE' | 'TRANSFORM' | 'EVENTS';

export const PARTITIONED_STREAMS: readonly PartitionedStream[] = ['READY', 'DECODE', 'TRANSFORM', 'EVENTS'];

export const streamName = (base: PartitionedStream, partition: number): string => `${base}_${partition}`;
export const streamSubject = (base: PartitionedStream, partition: number): string =>
  `${base.toLowerCase()}.${partition}`;

/** Changes of identity, devices and rules, for caches and side effects: `control.<kind>`. */
export const controlSubject = (kind: string): string => `control.${kind}`;
export const AUDIT_SUBJECT = 'audit.entries';
export const DEAD_STREAM = 'DEAD';
/** Messages of a tenant that were set aside; those whose tenant nobody knows have a subject of their own. */
export const deadSubject = (tenantId: string | undefined): string =>
  `dead.${tenantId !== undefined && /^[\w-]+$/.test(tenantId) ? tenantId : 'unknown'}`;

/** Key-value buckets: leases expire by themselves; the registry keeps readers' positions and the installation's facts. */
export const LEASES_BUCKET = 'orrery_leases';
export const REGISTRY_BUCKET = 'orrery_registry';
/** Said by an instance that came, goes, or let go of what is leased under the name. */
export const leasesSubject = (name: string): string => `leases.${name}`;
/** What visits which stage: the newest list of filters of each stage and tenant. */
export const STAGES_STREAM = 'STAGES';
export const stagesSubject = (stage: Stage, tenantId: string): string => `stages.${stage}.${tenantId}`;

export interface StreamOptions {
  partitions: number;
  /** Disk budget of one stream. */
  maxBytes: number;
  replicas: number;
  leaseTtlMs: number;
}

/** NATS servers older than this lose streams or cannot sync each write. */
const MINIMUM_SERVER = [2, 10, 23] as const;

function checkServerVersion(version: string): void {
  const parts = version.split(/[.-]/).map(Number);
  for (const [i, minimum] of MINIMUM_SERVER.entries()) {
    if ((parts[i] ?? 0) > minimum) return;
    if ((parts[i] ?? 0) < minimum)
      throw new Error(`nats-server ${version} is too old: ${MINIMUM_SERVER.join('.')} or newer is needed`);
  }
}

/** A message may hold a value of 1 MiB, and a dead letter holds it escaped. */
const MINIMUM_PAYLOAD = 8_000_000;

export function checkServer(info: { version: string; max_payload: number }): void {
  checkServerVersion(info.version);
  if (info.max_payload < MINIMUM_PAYLOAD)
    throw new Error(`NATS takes messages of ${info.max_payload} bytes at most: set its max_payload to 8MB`);
}

async function ensure(
  jsm: JetStreamManager,
  config: Partial<StreamConfig> & { name: string; subjects: string[] },
): Promise<void> {
  const exists = await jsm.streams.info(config.name).then(
    () => true,
    () => false,
  );
  if (exists) await jsm.streams.update(config.name, config);
  else await jsm.streams.add(config);
}

/**
 * Creates or updates every stream and bucket. Run by the migration job alone, so that no service depends on who comes first.
 * @throws Error when the installation was made with another number of partitions.
 */
export async function declareStreams(connection: NatsConnection, options: StreamOptions): Promise<void> {
  checkServer(connection.info!);
  const jsm = await jetstreamManager(connection);
  const kvm = new Kvm(connection);
  const registry = await kvm.create(REGISTRY_BUCKET, { replicas: options.replicas, storage: StorageType.File });
  const recorded = await registry.get('partitions');
  if (recorded && recorded.string() !== String(options.partitions))
    throw new Error(
      `ORRERY_PARTITIONS is ${options.partitions}, but this installation was made with ${recorded.string()} partitions; the number is fixed at installation`,
    );
  const leases = await kvm.create(LEASES_BUCKET, {
    ttl: options.leaseTtlMs,
    replicas: options.replicas,
    storage: StorageType.File,
  });
  await leases.status();

  const limits = {
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    num_replicas: options.replicas,
    max_bytes: options.maxBytes,
    // Republished entries are recognized by their number, without any time window.
    duplicate_window: 0,
  };
  for (const base of PARTITIONED_STREAMS)
    for (let p = 0; p < options.partitions; p++)
      await ensure(jsm, {
        ...limits,
        name: streamName(base, p),
        subjects: [streamSubject(base, p)],
        discard: DiscardPolicy.New,
      });
  // Nobody reads it up to a position that it could be purged to: what is old makes room, or changes could no longer be
  // announced once it is full.
  await ensure(jsm, { ...limits, name: 'CONTROL', subjects: ['control.>'], discard: DiscardPolicy.Old });
  await ensure(jsm, { ...limits, name: DEAD_STREAM, subjects: ['dead.>'], discard: DiscardPolicy.Old });
  await ensure(jsm, { ...limits, name: 'AUDIT', subjects: [AUDIT_SUBJECT], discard: DiscardPolicy.Old });
  // Written when a tenant changes its decoders or pipelines, read whole by every connector: as small as what tenants may
  // have of them, and never dropped.
  await ensure(jsm, { ...limits, name: STAGES_STREAM, subjects: ['stages.>'], max_bytes: -1, max_msgs_per_subject: 1 });
  if (!recorded) await registry.put('partitions', String(options.partitions));
}
