import type { UserProperties } from 'mqtt-packet';
import { mqttMetrics } from '../metrics.js';
import type { Reason } from './return-codes.js';

/** A publication that was read and is not answered yet. */
export interface Publication {
  /** 0 with QoS 0, which is never answered. */
  packetId: number;
  qos: 0 | 1 | 2;
  bytes: number;
  /** When it was read, on the monotonic clock. */
  at: number;
  done: boolean;
  /** Context that an MQTT 5 client sends it in, of any text. */
  traceparent?: string;
  /** Why it was refused, for an MQTT 5 client. */
  reason?: Reason;
}

const PUBACK = 0x40;
const PUBREC = 0x50;

/** Of one connection, that wait for the bus. */
const MOST = { messages: 1000, bytes: 8 << 20 };

/** Publications are answered in the order in which they came (MQTT 3.1.1, 4.6), whatever order they are done in. */
export class PublicationQueue {
  /** Packet ids of QoS 2 that the client has not released. */
  private readonly unreleased = new Set<number>();
  private queue: Publication[] = [];
  private head = 0;
  private heldBytes = 0;

  private get length(): number {
    return this.queue.length - this.head;
  }

  /** All that was read is answered. */
  get empty(): boolean {
    return this.length === 0;
  }

  /** No more should be read. */
  get full(): boolean {
    return this.length >= MOST.messages || this.heldBytes >= MOST.bytes;
  }

  /** More may be read again. */
  get drained(): boolean {
    return this.length <= MOST.messages / 2 && this.heldBytes <= MOST.bytes / 2;
  }

  add(packetId: number, qos: 0 | 1 | 2, bytes: number, properties?: UserProperties): Publication {
    const publication: Publication = { packetId, qos, bytes, at: performance.now(), done: false };
    const traceparent = properties?.['traceparent'];
    if (typeof traceparent === 'string') publication.traceparent = traceparent;
    this.queue.push(publication);
    this.heldBytes += bytes;
    return publication;
  }

  /**
   * Opens the packet id of a publication with QoS 2. False when it is open: the publication is sent again, and is
   * answered when the first is, and nothing else (MQTT 3.1.1, 4.3.3).
   */
  openId({ qos, packetId }: Publication): boolean {
    if (qos < 2) return true;
    if (this.unreleased.has(packetId)) return false;
    this.unreleased.add(packetId);
    return true;
  }

  /** @returns false when the packet id was not open. */
  releaseId(packetId: number): boolean {
    return this.unreleased.delete(packetId);
  }

  /** The packets that answer what is done at the front, in one buffer; undefined when there are none. */
  takeAnswers(): Buffer | undefined {
    const first = this.head;
    let bytes = 0;
    for (let next = this.queue[this.head]; next?.done; next = this.queue[this.head]) {
      if (next.qos > 0) bytes += next.reason === undefined ? 4 : 5;
      this.heldBytes -= next.bytes;
      this.head++;
    }
    let buffer: Buffer | undefined;
    if (bytes > 0) {
      mqttMetrics.pubackSeconds.observe((performance.now() - this.queue[first]!.at) / 1000);
      buffer = Buffer.allocUnsafe(bytes);
      let at = 0;
      for (let i = first; i < this.head; i++) {
        const { qos, packetId, reason } = this.queue[i]!;
        if (qos === 0) continue;
        buffer[at] = qos === 1 ? PUBACK : PUBREC;
        buffer[at + 1] = reason === undefined ? 2 : 3;
        buffer.writeUInt16BE(packetId, at + 2);
        at += 4;
        if (reason !== undefined) buffer[at++] = reason;
      }
    }
    if (this.head === this.queue.length) {
      this.queue = [];
      this.head = 0;
    } else if (this.head > 1024) {
      this.queue.splice(0, this.head);
      this.head = 0;
    }
    return buffer;
  }
}
