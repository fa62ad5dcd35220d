import { jetstream, jetstreamManager, type JetStreamClient, type JetStreamManager } from '@nats-io/jetstream';
import { type KV, Kvm } from '@nats-io/kv';
import { connect, type NatsConnection, type Subscription } from '@nats-io/transport-node';
import { randomBytes } from 'node:crypto';
import { type Logger, metrics, NO_TRACING, type Tracing } from '../telemetry/index.js';
import { decodeEntry, type EntryItem } from '../messages/index.js';
import { ReadItems } from './read-items.js';
import { StreamStates } from './stream-states.js';
import { checkServer, controlSubject, LEASES_BUCKET, REGISTRY_BUCKET } from './streams.js';

export interface BusOptions {
  url: string;
  /** Shown by the server's monitoring. */
  name: string;
  partitions: number;
  leaseTtlMs: number;
  /** How long answers of other services are waited for, in milliseconds, unless a question says it: 5,000. */
  answerMs?: number;
  logger: Logger;
  /** Of what passes over the bus; nothing is traced when absent. */
  tracing?: Tracing;
}

const serversOf = (urls: string): URL[] => urls.split(',').map((url) => new URL(url.trim()));

/** Where answers come to: each user of NATS has a place of its own, which the others may not listen to. */
function inboxPrefixOf(urls: string): string {
  const { username } = serversOf(urls)[0]!;
  return username ? `_INBOX.${decodeURIComponent(username).replaceAll(/[^\w-]/g, '_')}` : '_INBOX';
}

/** Connects to `nats://user:password@host:port`, or several of them separated by commas, and reconnects for ever. */
export function connectNats(urls: string, name: string): Promise<NatsConnection> {
  const servers = serversOf(urls);
  const { username, password } = servers[0]!;
  return connect({
    servers: servers.map((server) => server.host),
    name,
    inboxPrefix: inboxPrefixOf(urls),
    ...(username ? { user: decodeURIComponent(username), pass: decodeURIComponent(password) } : {}),
    maxReconnectAttempts: -1,
    reconnectTimeWait: 250,
    reconnectJitter: 250,
    pingInterval: 10_000,
    // Two stack traces for each request, which is each publication too: they show who asked and nothing else.
    noAsyncTraces: true,
  });
}

/** The connection of one process to NATS, and the few things that everything on the bus shares. */
export class Bus {
  /** Unique for this process run: origin of entries, holder of leases. */
  readonly instance = randomBytes(8).toString('hex');
  readonly streams: StreamStates;
  readonly decoded = new ReadItems();
  private readonly reconnectListeners = new Set<() => void>();

  private constructor(
    readonly connection: NatsConnection,
    readonly js: JetStreamClient,
    readonly jsm: JetStreamManager,
    readonly leases: KV,
    readonly registry: KV,
    readonly options: BusOptions,
    /** Identity of the lease bucket: epochs are comparable only within one. */
    readonly leaseGeneration: string,
    /** Most bytes of a message, headers included. The connection itself knows it only while it is up. */
    readonly maxPayload: number,
  ) {
    this.streams = new StreamStates(jsm);
    metrics.partitions.set(options.partitions);
    void this.watchStatus();
  }

  /** @throws Error when the server cannot be reached, is too old, or the migration job has not run. */
  static async connect(options: BusOptions): Promise<Bus> {
    const connection = await connectNats(options.url, options.name);
    try {
      checkServer(connection.info!);
      const { max_payload: maxPayload } = connection.info!;
      const kvm = new Kvm(connection);
      const registry = await kvm.open(REGISTRY_BUCKET);
      const recorded = await registry.get('partitions').catch(() => null);
      if (!recorded)
        throw new Error('the streams do not exist yet: run the migration job (`npm run up` does) before any service');
      if (recorded.string() !== String(options.partitions))
        throw new Error(
          `ORRERY_PARTITIONS is ${options.partitions}, but this installation was made with ${recorded.string()} partitions`,
        );
      // A request that is lost with a connection must fail while its lease still lives, so that it can be asked again.
      const leases = await new Kvm(jetstream(connection, { timeout: options.leaseTtlMs / 4 })).open(LEASES_BUCKET);
      const generation = (await leases.status()).streamInfo.created;
      return new Bus(
        connection,
        jetstream(connection),
        await jetstreamManager(connection),
        leases,
        registry,
        options,
        generation,
        maxPayload,
      );
    } catch (error) {
      await connection.close();
      throw error;
    }
  }

  /** Beginning of the subjects that answers come to. */
  get inboxPrefix(): string {
    return inboxPrefixOf(this.options.url);
  }

  get partitions(): number {
    return this.options.partitions;
  }

  get logger(): Logger {
    return this.options.logger;
  }

  get tracing(): Tracing {
    return this.options.tracing ?? NO_TRACING;
  }

  /** Calls back after each reconnection: what was published meanwhile without a stream was missed. */
  onReconnect(listener: () => void): () => void {
    this.reconnectListeners.add(listener);
    return () => this.reconnectListeners.delete(listener);
  }

  /** Changes of one kind as they happen. The stream keeps them; a cache needs only those that come while it holds something. */
  onControl(kind: string, listener: (item: EntryItem) => void): Subscription {
    return this.connection.subscribe(controlSubject(kind), {
      callback: (error, message) => {
        if (error) return;
        for (const item of decodeEntry(message.data)) listener(item);
      },
    });
  }

  private async watchStatus(): Promise<void> {
    for await (const status of this.connection.status()) {
      if (status.type === 'reconnect') {
        this.logger.info('reconnected to NATS');
        for (const listener of this.reconnectListeners)
          try {
            listener();
          } catch (error) {
            this.logger.error({ error }, 'could not do what a reconnection asks for');
          }
      } else if (status.type === 'disconnect') this.logger.warn('lost the connection to NATS');
    }
  }

  async close(): Promise<void> {
    await this.connection.drain();
  }
}
