import type { Audit, AuditEntry } from '@orrery/core/audit';
import { type AfterCommit, type Bus, PartitionReader, type ReadItem } from '@orrery/core/bus';
import type { Database } from '@orrery/core/database';
import { forwardAll } from '@orrery/core/ingestion';
import type { DataMessage, MessageHeader } from '@orrery/core/messages';
import type { Running } from '@orrery/core/service';
import type { EntityManager } from 'typeorm';
import { DefinitionFault } from '../decoders/compiled-decoder.js';
import type { DecodingEngine, DecodingJob } from '../decoders/decoding-engine.js';
import { DecodingError } from '../decoding.js';
import { decoderMetrics } from '../metrics.js';
import { decodedMessages, type Outgoing } from './decoded-message.js';
import { DecoderCache, type FindDecoder, type UsableDecoder } from './decoder-cache.js';

/** Messages that are decoded together, and characters that are handed on together: scripts make much of little. */
const SLICE = 50;
const MAX_PENDING = 8 << 20;
/** So often the database sees that a transaction is alive which waits for slow decoders, in milliseconds. */
const ALIVE_MS = 300;

const NO_TEXT = new DecodingError(
  'it decodes CSV, and the message was published as bytes (expected: a binary or JavaScript decoder)',
);

interface Arrival {
  partition: number;
  header: MessageHeader;
  /** As it came. */
  body: string;
  message: DataMessage;
  decoder: UsableDecoder | undefined;
}

/** Decodes the messages that connectors and applications send in formats of their own (manual 11.3). */
export class DecodingStage implements Running {
  private readonly decoders: DecoderCache;
  private readonly reader: PartitionReader;

  constructor(
    bus: Bus,
    database: Database,
    private readonly audit: Audit,
    private readonly engine: DecodingEngine,
  ) {
    this.decoders = new DecoderCache(database);
    this.reader = new PartitionReader(bus, {
      name: 'decoder',
      streams: ['DECODE'],
      handsOn: true,
      database,
      handle: (items, manager) => this.handle(items, manager),
    });
  }

  start(): Promise<void> {
    return this.reader.start();
  }

  stop(): Promise<void> {
    return this.reader.stop();
  }

  private async handle(items: ReadItem[], manager: EntityManager): Promise<AfterCommit> {
    const failures: AuditEntry[] = [];
    let passed = 0;
    const headers = items.map(({ header }) => JSON.parse(header) as MessageHeader);
    const find = await this.decoders.of(manager, new Set(headers.map(({ tenantId }) => tenantId)));
    let pending = new Map<number, Outgoing[]>();
    let characters = 0;
    const handOn = async (): Promise<void> => {
      await forwardAll(manager, pending);
      pending = new Map();
      characters = 0;
    };
    for (let from = 0; from < items.length; from += SLICE) {
      const slice = items.slice(from, from + SLICE);
      const arrivals = await Promise.all(slice.map((item, i) => arrivalOf(item, headers[from + i]!, find)));
      for (const { decoder } of arrivals) if (!decoder) passed++;
      const end = decoderMetrics.seconds.startTimer();
      const outgoing = await keptAlive(manager, () => this.decode(arrivals, failures));
      end();
      for (const [i, { partition }] of arrivals.entries())
        for (const message of outgoing[i]!) {
          const messages = pending.get(partition);
          if (messages) messages.push(message);
          else pending.set(partition, [message]);
          characters += message.body.length;
        }
      if (characters > MAX_PENDING) await handOn();
    }
    await handOn();
    return () => {
      decoderMetrics.messages.inc({ outcome: 'passed' }, passed);
      decoderMetrics.messages.inc({ outcome: 'failed' }, failures.length);
      decoderMetrics.messages.inc({ outcome: 'decoded' }, items.length - failures.length - passed);
      failures.forEach((entry) => this.audit.write(entry));
    };
  }

  /** What goes on in place of each message: the message itself when it cannot be decoded. */
  private async decode(arrivals: readonly Arrival[], failures: AuditEntry[]): Promise<Outgoing[][]> {
    const outgoing = arrivals.map(({ header, body }): Outgoing[] => [{ header, body }]);
    const jobs: Array<DecodingJob & { index: number }> = [];
    for (const [index, { header, message, decoder }] of arrivals.entries()) {
      if (!decoder) continue;
      const payload = message.value!['payload'] as string;
      if (decoder.compiled instanceof DefinitionFault) failures.push(failure(arrivals[index]!, decoder.compiled));
      else if (header.binary && decoder.compiled.kind === 'csv') failures.push(failure(arrivals[index]!, NO_TEXT));
      else
        jobs.push({
          index,
          decoder: decoder.compiled,
          tenantId: header.tenantId,
          key: decoder.key,
          payload,
          stored: true,
        });
    }
    const outcomes = await this.engine.decode(jobs);
    for (const [i, outcome] of outcomes.entries()) {
      const { index, decoder } = jobs[i]!;
      const arrival = arrivals[index]!;
      try {
        if (outcome instanceof DecodingError) throw outcome;
        const split = decoder.kind === 'javascript-split';
        outgoing[index] = decodedMessages(arrival.header, arrival.message, outcome, {
          model: arrival.decoder!.model,
          split,
        });
      } catch (error) {
        if (!(error instanceof DecodingError)) throw error;
        failures.push(failure(arrival, error));
      }
    }
    return outgoing;
  }
}

async function arrivalOf({ partition, body }: ReadItem, header: MessageHeader, find: FindDecoder): Promise<Arrival> {
  const message = JSON.parse(body) as DataMessage;
  const { encoding } = message.metadata;
  // Connectors send here what names a decoder, but it may be gone meanwhile.
  const decoder =
    encoding !== undefined && typeof message.value?.['payload'] === 'string'
      ? await find(header.tenantId, encoding)
      : undefined;
  return { partition, header, body, message, decoder };
}

/** PostgreSQL ends transactions that wait for their process for too long: it hears of this one until the work is done. */
async function keptAlive<Result>(manager: EntityManager, work: () => Promise<Result>): Promise<Result> {
  // A failure shows at the next statement of the transaction.
  const timer = setInterval(() => void manager.query('SELECT 1').catch(() => undefined), ALIVE_MS);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}

const failure = ({ header, message }: Arrival, error: Error): AuditEntry => ({
  tenantId: header.tenantId,
  level: 'error',
  category: 'data',
  subcategory: 'decoding',
  type: 'decoding_failed',
  description: `The decoder "${message.metadata.encoding}" could not decode a message: ${error.message.slice(0, 1000)}`,
  source: {
    connector: message.metadata.connector,
    ...(header.deviceId === undefined ? {} : { deviceId: header.deviceId }),
    ...(header.apiKeyId === undefined ? {} : { apiKeyId: header.apiKeyId }),
  },
  content: { encoding: message.metadata.encoding, streamId: header.streamId, messageId: header.id },
});
