import { randomUUID } from 'node:crypto';
import type { StoredAuditEntry } from '@orrery/core/audit';
import { AUDIT_SUBJECT, type Bus, NUMBER_HEADER, ORIGIN_HEADER, PackingPublisher } from '@orrery/core/bus';
import type { Config } from '@orrery/core/config';
import {
  buildMessage,
  type DataMessage,
  decodeEntry,
  type DeviceContext,
  type MessageHeader,
  partitionKey,
  partitionOf,
  type PublishedMessage,
} from '@orrery/core/messages';
import type { Service } from '@orrery/core/service';
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
import type { WebhookRules } from '@orrery/core/webhooks';
import { pipelineWith } from '../index.js';
import type { PipelineDto } from '../pipelines/pipeline.dto.js';
import { STEP_RULES } from '../transformation/external-transformation.js';
import { TransformerServer } from './transformer-server.js';

export const PATH = '/api/v0/pipelines';

/** The pipeline service between a connector and what reads READY, for tests. */
export interface Surroundings {
  backend: Backend;
  bus: Bus;
  keys: KeyRing;
  server: TransformerServer;
  service: Service;
  platform: TestPlatform;
  audited: StoredAuditEntry[];
  tenant(options?: Parameters<KeyRing['grant']>[1]): Tenant;
  /** One more instance. */
  boot(changes?: Partial<Config>): Promise<TestPlatform>;
  stop(): Promise<void>;
}

export interface Arrived {
  header: MessageHeader;
  message: DataMessage;
}

export interface Sent extends Partial<Omit<PublishedMessage, 'metadata'>> {
  connector?: string;
  encoding?: string;
  device?: Partial<DeviceContext> & { deviceId: string };
}

export interface Tenant {
  id: string;
  api: ApiClient;
  create(steps: unknown[] | string, more?: object): Promise<PipelineDto>;
  /** Publishes into the stage. @returns the id of the message, once the bus has it */
  publish(sent?: Sent): Promise<string>;
  /** Publishes, and resolves with what arrives on READY. */
  send(sent?: Sent): Promise<DataMessage>;
  arrived(): Arrived[];
  audited(): StoredAuditEntry[];
}

export async function startSurroundings(rules: Partial<WebhookRules> = {}): Promise<Surroundings> {
  const service = pipelineWith({ ...STEP_RULES, ...rules });
  const backend = await startBackend([service], { ORRERY_WEBHOOK_ALLOW: '127.0.0.1:*' });
  const bus: Bus = await backend.bus();
  const keys = keyRing(bus);
  const server = new TransformerServer();
  await server.start();
  const audited: StoredAuditEntry[] = [];
  bus.connection.subscribe(AUDIT_SUBJECT, { callback: (_, message) => void audited.push(message.json()) });
  const entries = new Set<string>();
  const arrived = new Map<string, Arrived[]>();
  bus.connection.subscribe('ready.*', {
    callback: (_, { data, headers }) => {
      // Readers know by its number what is published again.
      const entry = `${headers?.get(ORIGIN_HEADER)} ${headers?.get(NUMBER_HEADER)}`;
      if (entries.has(entry)) return;
      entries.add(entry);
      for (const item of decodeEntry(data)) {
        const header = JSON.parse(item.header) as MessageHeader;
        const message = JSON.parse(item.body) as DataMessage;
        const list = arrived.get(header.tenantId);
        if (list) list.push({ header, message });
        else arrived.set(header.tenantId, [{ header, message }]);
      }
    },
  });
  const platform = await backend.boot([service]);
  // What a connector decides by the filters of the stage is decided here: whatever is sent visits it.
  const stage = new PackingPublisher(bus, 'TRANSFORM');

  const tenant: Surroundings['tenant'] = (options = {}) => {
    const id = randomUUID();
    const api = apiClient(platform.url, keys.grant(id, options).value);
    const publish: Tenant['publish'] = async (sent = {}) => {
      const { connector = 'mqtt', encoding, device, ...published } = sent;
      const { header, message } = buildMessage(
        { tags: [], ...(device ? {} : { streamId: 's' }), ...published, metadata: encoding ? { encoding } : {} },
        {
          tenantId: id,
          connector,
          ...(device
            ? {
                device: {
                  defaultDataStreamId: device.deviceId,
                  tags: [],
                  properties: {},
                  group: { id: 'root', path: '/' },
                  ...device,
                },
              }
            : {}),
        },
      );
      const partition = partitionOf(id, partitionKey(header), bus.partitions);
      await stage.publish(partition, JSON.stringify(header), JSON.stringify(message));
      return message.id;
    };
    return {
      id,
      api,
      publish,
      async create(steps, more = {}) {
        const { status, body } = await api.post<PipelineDto>(PATH, {
          name: 'test',
          priorityLevel: 10,
          enabled: true,
          steps: typeof steps === 'string' ? [{ type: 'externalTransformation', url: steps }] : steps,
          ...more,
        });
        expect({ status, body }).toMatchObject({ status: 201 });
        return body;
      },
      async send(sent) {
        const messageId = await publish(sent);
        return eventually(() => arrived.get(id)?.find(({ message }) => message.id === messageId)?.message);
      },
      arrived: () => arrived.get(id) ?? [],
      audited: () => audited.filter(({ tenantId }) => tenantId === id),
    };
  };

  return {
    backend,
    bus,
    keys,
    server,
    service,
    platform,
    audited,
    tenant,
    boot: (changes) => backend.boot([service], { api: true, worker: true }, changes),
    async stop() {
      await stage.close();
      server.stop();
      await backend.stop();
    },
  };
}
