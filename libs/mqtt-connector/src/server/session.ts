import type { IPublishPacket, ISubscribePacket, IUnsubscribePacket } from 'mqtt-packet';
import type { Publication } from './publication-queue.js';
import type { Reason } from './return-codes.js';

/** What a connection does with the packets of its client once CONNECT is accepted: one per mode (manual 6). */
export interface Session {
  /** Answered through `Connection.acknowledge(publication)`, whether the publication was good or not. */
  publish(
    topic: string,
    payload: Buffer,
    publication: Publication,
    /** Of an MQTT 5 client. */
    properties?: IPublishPacket['properties'],
  ): void;
  subscribe(packet: ISubscribePacket): void;
  unsubscribe(packet: IUnsubscribePacket): void;
  /** The client's PUBACK for a message that was delivered to it. */
  acknowledged(packetId: number): void;
}

/** Why a connection ended. */
export interface Ending {
  description: string;
  /** Told to an MQTT 5 client. */
  reason?: Reason;
  /** A newer session of the same client has taken its place. */
  replaced?: boolean;
}
