import type { KvEntry } from '@nats-io/kv';
import { deadline, type Subscription } from '@nats-io/transport-node';
import { bucketKeys, purgeKey } from './bucket-keys.js';
import { metrics } from '../telemetry/index.js';
import { type Bus } from './bus.js';
import { LEASES_BUCKET, leasesSubject } from './streams.js';

export interface LeaseListener {
  /** The lease is ours. The epoch grows with every change of owner and every renewal. */
  acquired(key: number, epoch: number): void;
  /** The lease is no longer ours, or may not be: stop at once. */
  lost(key: number): void;
}

/** After a failure the leases are about to expire: they are asked for again at once. */
const RETRY_MS = 250;

/**
 * Shares `count` keys among the instances that use the same name, each key held by one instance at a time.
 * A lease that is not renewed expires; its revision is the epoch by which a database refuses a late owner.
 *
 * Leases change hands when instances look at who is there. They do so from time to time, and at once when another one
 * says that it came, went, or let go: who misses that is late and not wrong.
 */
export class LeaseManager {
  private readonly held = new Map<number, { revision: number; renewed: number }>();
  private readonly interval: number;
  private timer?: NodeJS.Timeout;
  private running?: Promise<void>;
  /** Something changed while leases were being shared. */
  private again = false;
  private news?: Subscription;
  private failing = false;
  private stopped = false;

  constructor(
    private readonly bus: Bus,
    private readonly name: string,
    private readonly count: number,
    private readonly listener: LeaseListener,
  ) {
    this.interval = bus.options.leaseTtlMs / 3;
  }

  async start(): Promise<void> {
    this.news = this.bus.connection.subscribe(leasesSubject(this.name), {
      callback: (error, message) => {
        if (!error && message.string() !== this.bus.instance) this.look();
      },
    });
    await this.bus.leases.put(this.memberKey, '1');
    this.tell();
    this.look();
    await this.running;
  }

  /**
   * Epoch of a key that this instance holds now, else undefined. One that has run out is lost: whoever heard so stops,
   * and must not be taken for its owner when a renewal is answered late.
   */
  epoch(key: number): number | undefined {
    const lease = this.held.get(key);
    if (!lease) return undefined;
    if (!this.expired(lease)) return lease.revision;
    this.forget(key);
    return undefined;
  }

  get keys(): number[] {
    return [...this.held.keys()];
  }

  /** Gives a key up without deleting it, because a database said that another instance owns it. */
  forget(key: number): void {
    if (!this.held.delete(key)) return;
    this.changed('lost');
    this.listener.lost(key);
  }

  /** Releases everything, so that others need not wait for the leases to expire. Call after the work has stopped. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.news?.unsubscribe();
    clearTimeout(this.timer);
    await this.running;
    const held = [...this.held];
    this.held.clear();
    await Promise.allSettled([
      purgeKey(this.bus, LEASES_BUCKET, this.memberKey),
      ...held.map(([key, lease]) => this.bus.leases.delete(this.leaseKey(key), { previousSeq: lease.revision })),
    ]);
    this.tell();
  }

  private get memberKey(): string {
    return `${this.name}.member.${this.bus.instance}`;
  }

  private leaseKey(key: number): string {
    return `${this.name}.lease.${key}`;
  }

  /** Lets the others look at who is there. */
  private tell(): void {
    if (!this.bus.connection.isClosed()) this.bus.connection.publish(leasesSubject(this.name), this.bus.instance);
  }

  private look(): void {
    if (this.running) this.again = true;
    else void this.tick();
  }

  private async tick(): Promise<void> {
    clearTimeout(this.timer);
    this.again = false;
    this.running = this.share().then(
      () => {
        this.failing = false;
      },
      (error: unknown) => {
        if (!this.failing)
          this.bus.logger.warn({ leases: this.name, error: String(error) }, 'could not renew leases; trying again');
        this.failing = true;
        this.dropExpired();
      },
    );
    await this.running;
    delete this.running;
    if (this.stopped) return;
    const wait = this.failing ? RETRY_MS : this.again ? 0 : this.interval;
    this.timer = setTimeout(() => void this.tick(), wait);
  }

  private async share(): Promise<void> {
    this.dropExpired();
    await this.bus.leases.put(this.memberKey, '1');
    await Promise.all([...this.held.keys()].map((key) => this.renew(key)));
    // The next renewal waits for this answer, which may be lost with a connection.
    const others = bucketKeys(this.bus, LEASES_BUCKET, `${this.name}.member.*`);
    const members = new Set([this.memberKey, ...(await deadline(others, this.interval))]);
    const fair = Math.ceil(this.count / members.size);
    const surplus = [...this.held.keys()].slice(fair);
    for (const key of surplus) await this.release(key);
    if (surplus.length > 0) {
      this.tell();
      return;
    }
    for (let key = 0; key < this.count && this.held.size < fair && !this.stopped; key++)
      if (!this.held.has(key)) await this.acquire(key);
  }

  private async renew(key: number): Promise<void> {
    const lease = this.held.get(key);
    if (!lease) return;
    const asked = Date.now();
    try {
      const revision = await this.bus.leases.update(this.leaseKey(key), this.bus.instance, lease.revision);
      lease.revision = revision;
      lease.renewed = asked;
    } catch (error) {
      // An answer that was lost leaves our own newer revision behind; anything else means another owner. That it is ours
      // does not say since when: only an update that was answered renews it.
      const entry: KvEntry | null = await this.bus.leases.get(this.leaseKey(key));
      if (entry?.operation === 'PUT' && entry.string() === this.bus.instance) {
        const again = Date.now();
        lease.revision = entry.revision;
        lease.revision = await this.bus.leases.update(this.leaseKey(key), this.bus.instance, entry.revision);
        lease.renewed = again;
      } else {
        this.bus.logger.warn({ lease: this.leaseKey(key), error: String(error) }, 'lost a lease');
        this.forget(key);
      }
    }
  }

  private async acquire(key: number): Promise<void> {
    const asked = Date.now();
    try {
      const revision = await this.bus.leases.create(this.leaseKey(key), this.bus.instance);
      if (this.stopped) {
        await this.bus.leases.delete(this.leaseKey(key), { previousSeq: revision });
        return;
      }
      this.held.set(key, { revision, renewed: asked });
      this.changed('acquired');
      this.listener.acquired(key, revision);
    } catch {
      // Another instance holds it.
    }
  }

  private async release(key: number): Promise<void> {
    const lease = this.held.get(key);
    if (!lease) return;
    this.held.delete(key);
    this.changed('released');
    this.listener.lost(key);
    await this.bus.leases.delete(this.leaseKey(key), { previousSeq: lease.revision });
  }

  private changed(change: 'acquired' | 'lost' | 'released'): void {
    metrics.leaseChanges.inc({ leases: this.name, change });
  }

  private dropExpired(): void {
    for (const [key, lease] of this.held) if (this.expired(lease)) this.forget(key);
  }

  private expired({ renewed }: { renewed: number }): boolean {
    return Date.now() - renewed >= this.bus.options.leaseTtlMs;
  }
}
