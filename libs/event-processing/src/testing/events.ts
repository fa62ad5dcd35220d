import { type Bus, PackingPublisher, streamName, streamSubject } from '@orrery/core/bus';
import {
  buildMessage,
  type DataMessage,
  decodeEntry,
  type EventHeader,
  type MessageHeader,
  partitionKey,
  partitionOf,
} from '@orrery/core/messages';
import { type Backend, eventually } from '@orrery/core/testing';
import { type MatchingFiredEvent, RULES_READER, type StateChangeEvent } from '../contract.js';

export interface Sent {
  streamId?: string;
  model?: string;
  value?: Record<string, unknown>;
  location?: { lat: number; lon: number };
  tags?: string[];
  timestamp?: string;
  /** When it arrived at its connector, epoch milliseconds. */
  arrived?: number;
}

/** Puts data messages on the bus as connectors do, and hears the events that rules make of them. */
export class RuleProbe {
  private readonly ready: PackingPublisher;
  private readonly heard: Array<{ header: EventHeader; body: MatchingFiredEvent | StateChangeEvent }> = [];

  constructor(
    private readonly bus: Bus,
    private readonly backend: Backend,
  ) {
    this.ready = new PackingPublisher(bus, 'READY');
    for (let partition = 0; partition < bus.partitions; partition++)
      bus.connection.subscribe(streamSubject('EVENTS', partition), {
        callback: (_error, message) => {
          for (const { header, body } of decodeEntry(message.data))
            this.heard.push({
              header: JSON.parse(header) as EventHeader,
              body: JSON.parse(body) as MatchingFiredEvent | StateChangeEvent,
            });
        },
      });
  }

  /**
   * Resolves when the bus has the message on disk.
   * @param source device; none when it is undefined.
   */
  async send(tenantId: string, source: string | undefined, sent: Sent = {}): Promise<MessageHeader> {
    const { arrived, streamId = source, ...published } = sent;
    const { header, message } = buildMessage(
      {
        value: {},
        tags: [],
        metadata: {},
        ...(streamId === undefined ? {} : { streamId }),
        ...published,
      },
      {
        tenantId,
        connector: source === undefined ? 'http' : 'mqtt',
        ...(source === undefined
          ? {}
          : {
              device: {
                deviceId: source,
                defaultDataStreamId: source,
                tags: [],
                properties: {},
                group: { id: 'root', path: '/' },
              },
            }),
      },
    );
    // Ids of this process never go back in time.
    if (arrived !== undefined)
      header.id = message.id = `${arrived.toString(16).padStart(12, '0')}${header.id.slice(12)}`;
    await this.publish(header, message);
    return header;
  }

  publish(header: MessageHeader, message: DataMessage): Promise<unknown> {
    const partition = partitionOf(header.tenantId, partitionKey(header), this.bus.partitions);
    return this.ready.publish(partition, JSON.stringify(header), JSON.stringify(message));
  }

  /** Waits until every message that was sent has been evaluated, and its events have been heard. */
  async settled(): Promise<void> {
    for (let partition = 0; partition < this.bus.partitions; partition++) {
      const stream = streamName('READY', partition);
      const last = (await this.bus.jsm.streams.info(stream)).state.last_seq;
      await eventually(async () => {
        const [position] = await this.backend.query<{ seq: string }>(
          'SELECT seq FROM event_processing.positions WHERE reader = $1 AND stream = $2',
          [RULES_READER, stream],
        );
        return position !== undefined && Number(position.seq) >= last;
      });
    }
    await eventually(async () => {
      const rows = await this.backend.query('SELECT 1 FROM event_processing.outbox LIMIT 1');
      return rows.length === 0;
    });
    await this.bus.connection.flush();
  }

  fired(tenantId: string): MatchingFiredEvent[] {
    return this.of(tenantId, 'matchingFired') as MatchingFiredEvent[];
  }

  changes(tenantId: string): StateChangeEvent[] {
    return this.of(tenantId, 'stateChange') as StateChangeEvent[];
  }

  headers(tenantId: string): EventHeader[] {
    return this.heard.filter(({ header }) => header.tenantId === tenantId).map(({ header }) => header);
  }

  /** Of all types, as they came. */
  events(tenantId: string): Array<MatchingFiredEvent | StateChangeEvent> {
    return this.heard.filter(({ header }) => header.tenantId === tenantId).map(({ body }) => body);
  }

  close(): Promise<void> {
    return this.ready.close();
  }

  private of(tenantId: string, type: string): unknown[] {
    return this.heard
      .filter(({ header }) => header.tenantId === tenantId && header.type === type)
      .map(({ body }) => body);
  }
}
