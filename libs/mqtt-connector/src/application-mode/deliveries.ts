import mqtt from 'mqtt-packet';
import { type Connection, OUTPUT_BYTES } from '../server/connection.js';
import { Reason } from '../server/return-codes.js';
import type { FifoConsumer } from './fifo-consumers.js';

interface Delivery {
  consumer: FifoConsumer;
  seq: number;
  body: string;
  traceparent: string | undefined;
}

const MAX_PACKET_ID = 0xffff;

/** What the client said that it can take (MQTT 5; otherwise no limit). */
export interface ClientLimits {
  receiveMaximum?: number;
  maximumPacketSize?: number;
}

/** Messages on their way to one client: written as fast as it reads, and remembered until it acknowledges them. */
export class Deliveries {
  private queue: Delivery[] = [];
  private queuedBytes = 0;
  /** Without their bodies: a client may subscribe again and again, and never acknowledge. */
  private readonly unacknowledged = new Map<number, { consumer: FifoConsumer; seq: number }>();
  /** What came for consumers whose SUBACK is not sent yet. */
  private readonly early = new Map<FifoConsumer, Delivery[]>();
  private readonly active = new Set<FifoConsumer>();
  private lastId = 0;
  private pumping = false;

  constructor(
    private readonly connection: Connection,
    private readonly limits: ClientLimits,
    /** The client is done with the message. */
    private readonly done: (consumer: FifoConsumer, seq: number) => void,
    /** The message is larger than the client takes. */
    private readonly tooLarge: (consumer: FifoConsumer, bytes: number) => void,
  ) {}

  /** Delivers the message, or holds it back until the consumer is activated. */
  add(consumer: FifoConsumer, seq: number, body: string, traceparent?: string): void {
    const delivery = { consumer, seq, body, traceparent };
    this.queuedBytes += body.length;
    if (this.active.has(consumer)) {
      this.queue.push(delivery);
      this.pump();
    } else {
      const early = this.early.get(consumer);
      if (early) early.push(delivery);
      else this.early.set(consumer, [delivery]);
    }
    // Only a window bounds what may come, and QoS 0 has none.
    if (consumer.autoAck && this.queuedBytes > OUTPUT_BYTES.limit)
      this.connection.close({ description: 'the client does not read what it is sent', reason: Reason.QuotaExceeded });
  }

  /** The client knows that it has subscribed. */
  activate(consumer: FifoConsumer): void {
    this.active.add(consumer);
    this.queue = this.queue.concat(this.early.get(consumer) ?? []);
    this.early.delete(consumer);
    this.pump();
  }

  /** Forgets what was not delivered; late acknowledgements have no effect. */
  remove(consumer: FifoConsumer): void {
    this.active.delete(consumer);
    const forgotten = [
      ...(this.early.get(consumer) ?? []),
      ...this.queue.filter((delivery) => delivery.consumer === consumer),
    ];
    this.early.delete(consumer);
    this.queue = this.queue.filter((delivery) => delivery.consumer !== consumer);
    for (const { body } of forgotten) this.queuedBytes -= body.length;
  }

  acknowledged(packetId: number): void {
    const delivery = this.unacknowledged.get(packetId);
    if (!delivery) return;
    this.unacknowledged.delete(packetId);
    this.done(delivery.consumer, delivery.seq);
    this.pump();
  }

  private pump(): void {
    // What is acknowledged while it is written brings the next one.
    if (this.pumping) return;
    this.pumping = true;
    const most = Math.min(this.limits.receiveMaximum ?? MAX_PACKET_ID, MAX_PACKET_ID);
    let sent = 0;
    for (const delivery of this.queue) {
      if (!delivery.consumer.autoAck && this.unacknowledged.size >= most) break;
      if (this.connection.backlog > OUTPUT_BYTES.full) {
        this.connection.onWritable(() => this.pump());
        break;
      }
      this.write(delivery);
      sent++;
    }
    for (const { body } of this.queue.splice(0, sent)) this.queuedBytes -= body.length;
    this.pumping = false;
  }

  private write(delivery: Delivery): void {
    const { consumer, seq, body, traceparent } = delivery;
    const messageId = consumer.autoAck ? undefined : this.nextId();
    const data = mqtt.generate(
      {
        cmd: 'publish',
        topic: `fifo/${consumer.fifoName}`,
        payload: body,
        qos: consumer.autoAck ? 0 : 1,
        dup: false,
        retain: false,
        ...(messageId === undefined ? {} : { messageId }),
        // Of an MQTT 5 client; others have no properties.
        ...(traceparent === undefined ? {} : { properties: { userProperties: { traceparent } } }),
      },
      { protocolVersion: this.connection.protocolVersion },
    );
    if (data.length > (this.limits.maximumPacketSize ?? Number.POSITIVE_INFINITY)) {
      // MQTT 5, 3.1.2.11.4: such a message counts as delivered.
      this.tooLarge(consumer, data.length);
      this.done(consumer, seq);
      return;
    }
    if (messageId !== undefined) this.unacknowledged.set(messageId, { consumer, seq });
    this.connection.send(data);
  }

  private nextId(): number {
    do this.lastId = (this.lastId % MAX_PACKET_ID) + 1;
    while (this.unacknowledged.has(this.lastId));
    return this.lastId;
  }
}
