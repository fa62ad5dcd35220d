import mqtt from 'mqtt-packet';
import { type Connection, OUTPUT_BYTES } from '../server/connection.js';

const MAX_PACKET_ID = 0xffff;

/** What a device is sent on one of its topics. */
export interface Document {
  topic: string;
  payload: string;
  qos: 0 | 1;
  responseTopic?: string;
}

/** What the client said that it can take. */
interface ClientLimits {
  receiveMaximum?: number;
  maximumPacketSize?: number;
}

/** Documents on their way to a device: of each the newest alone, written as fast as the device reads. */
export class Documents {
  private readonly queue = new Map<string, Document>();
  private readonly unacknowledged = new Set<number>();
  private lastId = 0;

  constructor(
    private readonly connection: Connection,
    private readonly limits: ClientLimits,
    /** The document is larger than the client takes: it is left out (MQTT 5, 3.1.2.11.4). */
    private readonly tooLarge: (document: Document, bytes: number) => void,
  ) {}

  /** @param key of which document this is the newest state. */
  publish(key: string, document: Document): void {
    this.queue.delete(key);
    this.queue.set(key, document);
    this.pump();
  }

  /** Forgets what was not sent yet on this topic. */
  forget(topic: string): void {
    for (const [key, document] of this.queue) if (document.topic === topic) this.queue.delete(key);
  }

  acknowledged(packetId: number): void {
    if (this.unacknowledged.delete(packetId)) this.pump();
  }

  private pump(): void {
    const most = Math.min(this.limits.receiveMaximum ?? MAX_PACKET_ID, MAX_PACKET_ID);
    for (const [key, document] of this.queue) {
      if (document.qos > 0 && this.unacknowledged.size >= most) break;
      if (this.connection.backlog > OUTPUT_BYTES.full) {
        this.connection.onWritable(() => this.pump());
        break;
      }
      this.queue.delete(key);
      this.write(document);
    }
  }

  private write(document: Document): void {
    const { topic, payload, qos, responseTopic } = document;
    const messageId = qos === 0 ? undefined : this.nextId();
    const data = mqtt.generate(
      {
        cmd: 'publish',
        topic,
        payload,
        qos,
        dup: false,
        retain: false,
        ...(messageId === undefined ? {} : { messageId }),
        ...(responseTopic === undefined ? {} : { properties: { responseTopic } }),
      },
      { protocolVersion: 5 },
    );
    if (data.length > (this.limits.maximumPacketSize ?? Number.POSITIVE_INFINITY)) {
      this.tooLarge(document, data.length);
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
