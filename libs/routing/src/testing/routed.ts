import { randomUUID } from 'node:crypto';
import type { StoredAuditEntry } from '@orrery/core/audit';
import { hashApiKey } from '@orrery/core/auth';
import { AUDIT_SUBJECT, type Bus, serveRpc, streamName } from '@orrery/core/bus';
import { ApiError } from '@orrery/core/http';
import type { LimitValues } from '@orrery/core/limits';
import {
  type ApiClient,
  apiClient,
  type Backend,
  eventually,
  type KeyRing,
  keyRing,
  startBackend,
  type TestPlatform,
} from '@orrery/core/testing';
import { findMasterKey } from '@orrery/identity/contract';
import type { ActionPolicyDto } from '../action-policies/action-policy.dto.js';
import { wakeSubject } from '../deliveries/sender.js';
import { routing } from '../index.js';
import { Producer } from './producer.js';

export const POLICIES = '/api/v1/event2action/actionPolicies';

/** Routing with its backend, and tenants whose messages are routed, for tests. */
export interface Routed {
  backend: Backend;
  bus: Bus;
  platform: TestPlatform;
  producer: Producer;
  tenant(limits?: LimitValues): RoutedTenant;
  /** Asks another instance. */
  client(url: string, tenant: RoutedTenant): ApiClient;
  /** Moves what waits for its time, of all tenants. @param seconds into the past. */
  pass(seconds: number): Promise<void>;
  stop(): Promise<void>;
}

export interface RoutedTenant {
  id: string;
  /** Value of its API key. */
  key: string;
  api: ApiClient;
  /** Creates an enabled policy for data messages, unless told otherwise. */
  route(actions: object, triggers?: object): Promise<ActionPolicyDto>;
  /** Sends a data message of the device. */
  data(deviceId: string, value?: Record<string, unknown>): Promise<void>;
  event(type: string, body: Record<string, unknown>): Promise<void>;
  /** Entries of the audit log of this subcategory. */
  audited(subcategory: string): StoredAuditEntry[];
}

export async function startRouted(overrides: NodeJS.ProcessEnv = {}): Promise<Routed> {
  const backend = await startBackend([routing], { ORRERY_WEBHOOK_ALLOW: '127.0.0.1:*', ...overrides });
  const bus = await backend.bus();
  const keys: KeyRing = keyRing(bus);
  const masterKeys = new Map<string, string>();
  serveRpc(bus, findMasterKey, ({ tenantId }) => {
    const hash = masterKeys.get(tenantId);
    if (!hash) throw new ApiError('NOT_FOUND');
    return { hash };
  });
  const entries: StoredAuditEntry[] = [];
  bus.connection.subscribe(AUDIT_SUBJECT, { callback: (_, message) => void entries.push(message.json()) });
  const platform = await backend.boot([routing]);
  const producer = new Producer(bus);
  return {
    backend,
    bus,
    platform,
    producer,
    tenant(limits) {
      const id = randomUUID();
      const { value } = keys.grant(id, limits ? { limits: { ...limits, httpPerKeyMinute: null } } : {});
      masterKeys.set(id, hashApiKey(value));
      const api = apiClient(platform.url, value);
      return {
        id,
        key: value,
        api,
        async route(actions, triggers = { dataMessage: { version: 1 } }) {
          const { status, body } = await api.post<ActionPolicyDto>(POLICIES, { enabled: true, triggers, actions });
          expect({ status, body }).toMatchObject({ status: 200 });
          return body;
        },
        async data(deviceId, value = {}) {
          await producer.data(id, deviceId, { value });
        },
        event: (type, body) =>
          producer.event(
            { tenantId: id, type, key: 'one' },
            { type, version: 1, timestamp: new Date().toISOString(), ...body },
          ),
        audited: (subcategory) => entries.filter((entry) => entry.tenantId === id && entry.subcategory === subcategory),
      };
    },
    client: (url, { key }) => apiClient(url, key),
    async pass(seconds) {
      const time = `- make_interval(secs => ${seconds})`;
      await backend.query(`UPDATE routing.deliveries SET due = due ${time} WHERE NOT taken`);
      const queues = await backend.query<{ tenant_id: string; queue: string; partition: number }>(
        `UPDATE routing.delivery_queues SET next_due = next_due ${time} RETURNING tenant_id, queue, partition`,
      );
      for (const { tenant_id, queue, partition } of queues)
        bus.connection.publish(wakeSubject(partition), JSON.stringify([[tenant_id, queue]]));
    },
    async stop() {
      await producer.close();
      await backend.stop();
    },
  };
}

/** All that is on the bus has been routed, and nothing waits for the tenant any more. */
export async function settled({ backend, bus }: Routed, { id }: RoutedTenant): Promise<void> {
  for (const stream of ['READY', 'EVENTS'] as const)
    for (let partition = 0; partition < bus.partitions; partition++) {
      const name = streamName(stream, partition);
      const { state } = await bus.jsm.streams.info(name);
      await eventually(async () => {
        const [row] = await backend.query<{ seq: string }>(
          `SELECT seq FROM routing.positions WHERE reader = 'routing' AND stream = $1`,
          [name],
        );
        return Number(row?.seq ?? 0) >= state.last_seq;
      });
    }
  await eventually(async () => {
    const rows = await backend.query('SELECT 1 FROM routing.deliveries WHERE tenant_id = $1 LIMIT 1', [id]);
    return rows.length === 0;
  });
}
