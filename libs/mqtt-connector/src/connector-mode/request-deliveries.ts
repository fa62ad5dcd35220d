import mqtt from 'mqtt-packet';
import { type Connection, OUTPUT_BYTES } from '../server/connection.js';

/** What the client said that it can take (MQTT 5; otherwise no limit). */
export interface ClientLimits {
  receiveMaximum?: number;
  maximumPacketSize?: number;
}

interface Delivery {
  topic: string;
  body: string;
  qos: 0 | 1;
}

const MAX_PACKET_ID = 0xffff;
/** Waiting for a client that does not read, or does not acknowledge. */
const MOST_WAITING = { requests: 1000, bytes: 1 << 20 };

/** Requests on their way to one external connector, written as fast as it takes them. */
export class RequestDeliveries {
  private readonly queue: Delivery[] = [];
  private queuedBytes = 0;
  private readonly unacknowledged = new Set<number>();
  private lastId = 0;

  constructor(
    private readonly connection: Connection,
    private readonly limits: ClientLimits,
    /** The request makes a packet that is larger than the client takes. */
    private readonly tooLarge: (topic: string, bytes: number) => void,
  ) {}

  /** @returns false when the client has not taken enough of what came before. */
  add(topic: string, body: string, qos: 0 | 1): boolean {
    if (this.queue.length >= MOST_WAITING.requests || this.queuedBytes >= MOST_WAITING.bytes) return false;
    this.queue.push({ topic, body, qos });
    this.queuedBytes += body.length;
    this.pump();
    return true;
  }

  acknowledged(packetId: number): void {
    if (this.unacknowledged.delete(packetId)) this.pump();
  }

  private pump(): void {
    const most = Math.min(this.limits.receiveMaximum ?? MAX_PACKET_ID, MAX_PACKET_ID);
    let sent = 0;
    for (const delivery of this.queue) {
      if (delivery.qos === 1 && this.unacknowledged.size >= most) break;
      if (this.connection.backlog > OUTPUT_BYTES.full) {
        this.connection.onWritable(() => this.pump());
        break;
      }
      this.write(delivery);
      sent++;
    }
    for (const { body } of this.queue.splice(0, sent)) this.queuedBytes -= body.length;
  }

  private write({ topic, body, qos }: Delivery): void {
    const messageId = qos === 0 ? undefined : this.nextId();
    const data = mqtt.generate(
      {
        cmd: 'publish',
        topic,
        payload: body,
        qos,
        dup: false,
        retain: false,
        ...(messageId === undefined ? {} : { messageId }),
      },
      { protocolVersion: this.connection.protocolVersion },
    );
    if (data.length > (this.limits.maximumPacketSize ?? Number.POSITIVE_INFINITY)) {
      this.tooLarge(topic, data.length);
      return;
    }
    if (messageId !== undefined) this.unacknowledged.add(messageId);
    this.connection.send(data);
  }

  private nextId(): number {
    do this.lastId = (this.lastId % MAX_PACKET_ID) + 1;
    while (this.unacknowledged.has(this.lastId));
    return this.lastId;
  }
}
