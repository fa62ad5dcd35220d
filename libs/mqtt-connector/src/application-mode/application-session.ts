import { setTimeout as delay } from 'node:timers/promises';
import { InvalidArgumentError } from '@nats-io/transport-node';
import type { IConnectPacket, ISubscribePacket, ISubscription, IUnsubscribePacket } from 'mqtt-packet';
import type { Role } from '@orrery/core/auth';
import { type Bus, callRpc, RpcError } from '@orrery/core/bus';
import { fifoPublish } from '@orrery/routing/contract';
import type { DataPublisher } from '../data/data-publisher.js';
import { readJson } from '../data/published-data.js';
import { limitEnding, type Traffic } from '../limits/traffic.js';
import type { Connection } from '../server/connection.js';
import { Hold } from '../server/hold.js';
import type { Publication } from '../server/publication-queue.js';
import { subscribeFailure } from '../server/return-codes.js';
import type { Session } from '../server/session.js';
import type { Credentials } from '../sessions/admission.js';
import { CONNECTOR, type SessionAudit } from '../sessions/session-audit.js';
import { Deliveries } from './deliveries.js';
import type { FifoConsumer, FifoConsumers, FifoReceiver } from './fifo-consumers.js';

const DATA_TOPIC = 'application/v1/data';
const FIFO_TOPIC = /^fifo\/([\w.-]{1,128})$/;
/** How long a SUBSCRIBE waits for a dispatcher that is moving. */
const SUBSCRIBE_WITHIN_MS = 5000;
const RETRY_MS = 250;

/** What an application session works with; the same for all. */
export interface ApplicationTools {
  bus: Bus;
  data: DataPublisher;
  fifos: FifoConsumers;
}

/** No FIFO takes the message, also later: routing says so, or the bus, when it is larger than that takes. */
const isBadMessage = (error: unknown): boolean =>
  (error instanceof RpcError && error.code === 'GENERIC_INVALID_PARAMETER_ERROR') ||
  error instanceof InvalidArgumentError;

/** A business application's MQTT session (manual 16.2.2). */
export class ApplicationSession implements Session, FifoReceiver {
  private readonly deliveries: Deliveries;
  private readonly consumers = new Map<string, FifoConsumer>();
  /** SUBSCRIBE and UNSUBSCRIBE are done one after the other. */
  private subscribing = Promise.resolve();
  private underWay = 0;
  /** Messages for FIFOs keep their order. */
  private publishing = Promise.resolve();

  constructor(
    private readonly connection: Connection,
    packet: IConnectPacket,
    private readonly credentials: Credentials,
    private readonly audit: SessionAudit,
    private readonly traffic: Traffic,
    private readonly tools: ApplicationTools,
  ) {
    this.deliveries = new Deliveries(
      connection,
      packet.properties ?? {},
      (consumer, seq) => tools.fifos.acknowledge(consumer, seq),
      (consumer, bytes) =>
        audit.error(
          'message_too_large',
          `A message of the FIFO ${consumer.fifoName} was left out: it makes a packet of ${bytes} bytes, more than the client takes`,
        ),
    );
  }

  /** What was not acknowledged goes back to the FIFOs. */
  end(): void {
    for (const consumer of this.consumers.values()) void this.tools.fifos.unsubscribe(consumer);
    this.consumers.clear();
  }

  publish(topic: string, payload: Buffer, publication: Publication): void {
    const reached = this.traffic.publication();
    if (reached) {
      this.connection.close(limitEnding(reached));
      return;
    }
    const fifoName = FIFO_TOPIC.exec(topic)?.[1];
    if (topic === DATA_TOPIC) this.publishData(payload, publication);
    else if (fifoName !== undefined) this.publishToFifo(fifoName, topic, payload, publication);
    else {
      this.refuseTopic('bad_topic', topic, 'may not publish on');
      this.connection.acknowledge(publication);
    }
  }

  subscribe({ messageId, subscriptions }: ISubscribePacket): void {
    this.inTurn(async () => {
      const deadline = Date.now() + SUBSCRIBE_WITHIN_MS;
      const granted: number[] = [];
      const added: FifoConsumer[] = [];
      for (const subscription of subscriptions) {
        const consumer = await this.consume(subscription, deadline);
        if (consumer) added.push(consumer);
        granted.push(consumer ? Math.min(subscription.qos, 1) : subscribeFailure(this.connection.protocolVersion));
      }
      this.connection.sendPacket({ cmd: 'suback', messageId: messageId!, granted });
      for (const consumer of added) this.deliveries.activate(consumer);
    });
  }

  unsubscribe({ messageId, unsubscriptions }: IUnsubscribePacket): void {
    this.inTurn(async () => {
      const granted: number[] = [];
      for (const topic of unsubscriptions) {
        const consumer = this.consumers.get(topic);
        if (consumer) await this.stopConsuming(topic, consumer);
        granted.push(consumer ? 0 : 0x11);
      }
      this.connection.sendPacket({ cmd: 'unsuback', messageId: messageId!, granted });
    });
  }

  acknowledged(packetId: number): void {
    this.deliveries.acknowledged(packetId);
  }

  deliver(consumer: FifoConsumer, seq: number, body: string, traceparent?: string): void {
    this.deliveries.add(consumer, seq, body, traceparent);
  }

  ended(consumer: FifoConsumer): void {
    this.consumers.delete(`fifo/${consumer.fifoName}`);
    this.deliveries.remove(consumer);
  }

  private publishData(payload: Buffer, publication: Publication): void {
    const { connection, audit, credentials } = this;
    if (!this.has('DATA_W')) {
      this.refuseTopic('forbidden', DATA_TOPIC, 'needs the role DATA_W to publish on');
      connection.acknowledge(publication);
      return;
    }
    if (credentials.key.fifos.length > 0) {
      this.refuseTopic('forbidden', DATA_TOPIC, 'has an API key that is restricted to FIFOs, not');
      connection.acknowledge(publication);
      return;
    }
    const data = readJson(payload, false);
    const { tenantId, id: apiKeyId } = credentials.key;
    this.tools.data.take(
      'problem' in data || data.streamId !== undefined ? data : { problem: 'streamId: expected, it is mandatory' },
      { tenantId, connector: CONNECTOR, apiKeyId },
      connection,
      publication,
      audit,
    );
  }

  private publishToFifo(fifoName: string, topic: string, payload: Buffer, publication: Publication): void {
    if (!this.has('BUS_W') || !this.mayUse(fifoName)) {
      this.refuseTopic('forbidden', topic, 'may not publish on');
      this.connection.acknowledge(publication);
      return;
    }
    this.publishing = this.publishing.then(() => this.enqueue(fifoName, topic, payload, publication));
  }

  private async enqueue(fifoName: string, topic: string, payload: Buffer, publication: Publication): Promise<void> {
    const { tenantId } = this.credentials.key;
    while (!this.connection.closed)
      try {
        await callRpc(this.tools.bus, fifoPublish, { tenantId, fifoName, body: payload.toString('utf8') });
        this.connection.acknowledge(publication);
        return;
      } catch (error) {
        if (error instanceof RpcError && error.code === 'NOT_FOUND')
          this.refuseTopic('fifo_not_found', topic, 'cannot publish, there is no FIFO for');
        else if (isBadMessage(error))
          this.refuseTopic('publication_failed', topic, `cannot publish (${String(error)}) on`);
        else {
          // Nobody answers at the moment, or who does cannot write it: what is not kept is not acknowledged.
          await delay(RETRY_MS);
          continue;
        }
        this.connection.acknowledge(publication);
        return;
      }
  }

  /** @returns undefined when the filter cannot be subscribed; the audit log says why. */
  private async consume({ topic, qos }: ISubscription, deadline: number): Promise<FifoConsumer | undefined> {
    const fifoName = FIFO_TOPIC.exec(topic)?.[1];
    if (fifoName === undefined) return this.refuseTopic('bad_topic', topic, 'may not subscribe to');
    if (!this.has('BUS_R')) return this.refuseTopic('forbidden', topic, 'needs the role BUS_R to subscribe to');
    if (!this.mayUse(fifoName))
      return this.refuseTopic('forbidden', topic, 'has an API key that is restricted to other FIFOs than that of');
    const autoAck = qos === 0;
    const present = this.consumers.get(topic);
    if (present?.autoAck === autoAck) return present;
    if (present) await this.stopConsuming(topic, present);
    try {
      const { tenantId } = this.credentials.key;
      const consumer = await this.tools.fifos.subscribe(tenantId, fifoName, autoAck, this, deadline);
      if (this.connection.closed) void this.tools.fifos.unsubscribe(consumer);
      else this.consumers.set(topic, consumer);
      return consumer;
    } catch (error) {
      if (error instanceof RpcError && error.code === 'NOT_FOUND')
        return this.refuseTopic('fifo_not_found', topic, 'cannot subscribe, there is no FIFO for');
      return this.refuseTopic('subscription_failed', topic, 'cannot subscribe at the moment to');
    }
  }

  private async stopConsuming(topic: string, consumer: FifoConsumer): Promise<void> {
    this.consumers.delete(topic);
    this.deliveries.remove(consumer);
    // A dispatcher that is moving is told later.
    const waited = new AbortController();
    const late = delay(SUBSCRIBE_WITHIN_MS, undefined, { signal: waited.signal }).catch(() => undefined);
    await Promise.race([this.tools.fifos.unsubscribe(consumer), late]);
    waited.abort();
  }

  private inTurn(work: () => Promise<void>): void {
    this.underWay++;
    this.connection.hold(Hold.Subscribing);
    this.subscribing = this.subscribing.then(work).finally(() => {
      if (--this.underWay === 0) this.connection.release(Hold.Subscribing);
    });
  }

  private has(role: Role): boolean {
    return this.credentials.key.roles.includes(role);
  }

  private mayUse(fifoName: string): boolean {
    const { fifos } = this.credentials.key;
    return fifos.length === 0 || fifos.includes(fifoName);
  }

  private refuseTopic(type: string, topic: string, verb: string): undefined {
    const { clientId } = this.audit.client;
    this.audit.error(type, `Client ${clientId} ${verb} the topic ${topic.slice(0, 256)}`, {
      topic: topic.slice(0, 256),
    });
  }
}
