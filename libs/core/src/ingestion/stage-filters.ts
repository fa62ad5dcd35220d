import { DeliverPolicy } from '@nats-io/jetstream';
import { type Bus, STAGES_STREAM } from '../bus/index.js';
import {
  compileMessageFilter,
  type DataMessage,
  decodeEntry,
  type Filterable,
  type MessageFilter,
  type Stage,
  STAGES,
} from '../messages/index.js';

type Predicate = (subject: Filterable) => boolean;

const RETRY_MS = 500;
/** Tenant of filters that hold for all. */
const PUBLIC = 'public';

/** What visits which stage, in memory as the bus has it: deciding about a message waits for nobody. */
export class StageFilters {
  private readonly filters: Record<Stage, Map<string, Predicate[]>> = { DECODE: new Map(), TRANSFORM: new Map() };
  private stopped = false;
  private end?: () => void;
  private unsubscribe?: () => void;

  constructor(private readonly bus: Bus) {}

  /** Resolves when everything that was written before has been read. */
  async start(): Promise<void> {
    await this.read();
    // What was written during a disconnection is read with everything else.
    this.unsubscribe = this.bus.onReconnect(() => void this.readAgain());
  }

  stop(): void {
    this.stopped = true;
    this.unsubscribe?.();
    this.end?.();
  }

  /** The stages that the message visits, in their order. */
  of(tenantId: string, message: DataMessage): Stage[] {
    let subject: Filterable | undefined;
    const stages: Stage[] = [];
    for (const stage of STAGES) {
      // Only what has a payload and says how it is encoded can be decoded (manual 11.3.2.2).
      if (stage === 'DECODE' && (!message.metadata.encoding || typeof message.value?.['payload'] !== 'string'))
        continue;
      const filters = this.filters[stage];
      for (const tenant of [tenantId, PUBLIC]) {
        const predicates = filters.get(tenant);
        if (!predicates) continue;
        subject ??= {
          connectors: [message.metadata.connector],
          encoding: message.metadata.encoding,
          groupPath: message.metadata.group?.path,
          tags: message.tags,
        };
        if (predicates.some((passes) => passes(subject!))) {
          stages.push(stage);
          break;
        }
      }
    }
    return stages;
  }

  private async readAgain(): Promise<void> {
    while (!this.stopped)
      try {
        return await this.read();
      } catch (error) {
        this.bus.logger.warn({ error: String(error) }, 'could not read which messages visit which stage; trying again');
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
  }

  private async read(): Promise<void> {
    this.end?.();
    const consumer = await this.bus.js.consumers.get(STAGES_STREAM, {
      deliver_policy: DeliverPolicy.LastPerSubject,
    });
    const { num_pending: waiting } = await consumer.info();
    let read = 0;
    let complete!: () => void;
    const completed = new Promise<void>((resolve) => (complete = resolve));
    const messages = await consumer.consume({
      callback: (message) => {
        this.take(message.subject, message.data);
        if (++read >= waiting) complete();
      },
    });
    let ended = false;
    this.end = () => {
      ended = true;
      complete();
      void messages.close();
      consumer.delete().catch(() => undefined);
    };
    // It ends by itself when the server will not go on with it.
    void messages.closed().then(() => {
      if (!ended && !this.stopped) void this.readAgain();
    });
    if (waiting > 0) await completed;
  }

  private take(subject: string, data: Uint8Array): void {
    const [, stage, tenantId] = subject.split('.') as [string, Stage, string];
    try {
      const filters = JSON.parse(decodeEntry(data).at(-1)!.body) as MessageFilter[];
      if (filters.length === 0) this.filters[stage].delete(tenantId);
      else this.filters[stage].set(tenantId, filters.map(compileMessageFilter));
    } catch (error) {
      this.bus.logger.error({ subject, error: String(error) }, 'stage filters of unknown format');
    }
  }
}
