import { type Bus, describeMessage, MessageTooLargeError } from '@orrery/core/bus';
import { Ingestion } from '@orrery/core/ingestion';
import { buildMessage, type MessageOrigin, type PublishedMessage } from '@orrery/core/messages';
import type { Connection } from '../server/connection.js';
import type { Publication } from '../server/publication-queue.js';
import type { SessionAudit } from '../sessions/session-audit.js';
import { BackPressure } from './back-pressure.js';
import type { BadData } from './published-data.js';

/**
 * Takes what clients publish to the bus. A publication is acknowledged when the bus has it on disk, or when it is bad:
 * then the audit log says why, and the connection lives (manual 6.5.5.1).
 */
export class DataPublisher {
  private readonly ingestion: Ingestion;
  private readonly backPressure: BackPressure;

  constructor(private readonly bus: Bus) {
    this.ingestion = new Ingestion(bus);
    this.backPressure = new BackPressure(this.ingestion);
  }

  start(): Promise<void> {
    return this.ingestion.start();
  }

  /** @param partition where the message goes, when it is known already. */
  take(
    data: PublishedMessage | BadData,
    origin: MessageOrigin,
    connection: Connection,
    publication: Publication,
    audit: SessionAudit,
    partition?: number,
  ): void {
    if ('problem' in data) {
      this.refuse(data.problem, connection, publication, audit);
      return;
    }
    const { header, message, droppedTags } = buildMessage(data, origin);
    const { tracing } = this.bus;
    const span = tracing.enter('mqtt publish', 'producer', publication);
    span?.set({ ...describeMessage({ ...header }), 'messaging.system': 'mqtt', 'messaging.mqtt.qos': publication.qos });
    const traceparent = span?.traceparent ?? tracing.passOn(publication.traceparent);
    if (traceparent !== undefined) header.traceparent = traceparent;
    if (data.locationError)
      audit.error(
        'bad_location',
        `Location left out: ${data.locationError.field}: expected ${data.locationError.expected}`,
      );
    if (droppedTags.length > 0)
      audit.error(
        'too_many_tags',
        `Device tags left out, because a message has ten at most: ${droppedTags.join(', ')}`,
      );
    this.ingestion.publish(header, message, { partition }).then(
      () => {
        connection.acknowledge(publication);
        span?.end();
      },
      (error: unknown) => {
        span?.end(error);
        // Otherwise this process ends: without an answer the client publishes again.
        if (error instanceof MessageTooLargeError) this.refuse(error.message, connection, publication, audit);
        // Parsing has no limit of depth, writing has.
        else if (error instanceof RangeError)
          this.refuse('value: expected less deep nesting', connection, publication, audit);
      },
    );
    this.backPressure.check(connection);
  }

  close(): Promise<void> {
    return this.ingestion.close();
  }

  private refuse(problem: string, connection: Connection, publication: Publication, audit: SessionAudit): void {
    audit.error('bad_message', `Data message refused: ${problem}`);
    connection.acknowledge(publication);
  }
}
