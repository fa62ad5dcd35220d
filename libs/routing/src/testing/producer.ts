import { type Bus, PackingPublisher } from '@orrery/core/bus';
import { buildMessage, type EventHeader, type MessageHeader, partitionKey, partitionOf } from '@orrery/core/messages';

interface Sent {
  connector?: string;
  groupPath?: string;
  tags?: string[];
  value?: Record<string, unknown>;
  /** When it arrived at its connector, epoch milliseconds. */
  arrived?: number;
}

/** Publishes data messages and events as connectors and other services do, for tests. */
export class Producer {
  private readonly ready: PackingPublisher;
  private readonly events: PackingPublisher;

  constructor(private readonly bus: Bus) {
    this.ready = new PackingPublisher(bus, 'READY');
    this.events = new PackingPublisher(bus, 'EVENTS');
  }

  /** Resolves when the bus has the message of the device on disk. */
  async data(tenantId: string, deviceId: string, sent: Sent = {}): Promise<MessageHeader> {
    const { header, message } = buildMessage(
      { value: sent.value ?? {}, tags: sent.tags ?? [], metadata: {} },
      {
        tenantId,
        connector: sent.connector ?? 'mqtt',
        device: {
          deviceId,
          defaultDataStreamId: deviceId,
          tags: [],
          properties: {},
          group: { id: 'root', path: sent.groupPath ?? '/' },
        },
      },
    );
    // Ids of this process never go back in time.
    if (sent.arrived !== undefined)
      header.id = message.id = `${sent.arrived.toString(16).padStart(12, '0')}${header.id.slice(12)}`;
    await this.ready.publish(
      this.partition(tenantId, partitionKey(header)),
      JSON.stringify(header),
      JSON.stringify(message),
    );
    return header;
  }

  async event(header: EventHeader, body: Record<string, unknown>): Promise<void> {
    await this.events.publish(
      this.partition(header.tenantId, header.key),
      JSON.stringify(header),
      JSON.stringify(body),
    );
  }

  close(): Promise<void> {
    return Promise.all([this.ready.close(), this.events.close()]).then(() => undefined);
  }

  private partition(tenantId: string, key: string): number {
    return partitionOf(tenantId, key, this.bus.partitions);
  }
}
