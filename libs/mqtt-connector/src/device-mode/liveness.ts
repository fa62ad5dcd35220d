import type { Bus } from '@orrery/core/bus';
import { connectorLeaseKey } from '@orrery/device-manager/contract';
import { CONNECTOR } from '../sessions/session-audit.js';

/**
 * Shows that this instance lives. When the key expires, device-manager ends the instance's sessions; so must the
 * instance, which may not hold sessions that the inventory believes ended.
 */
export class Liveness {
  private readonly key: string;
  private revision = 0;
  private renewedAt = 0;
  private renewing = false;
  private timer?: NodeJS.Timeout;

  /** @param lost the key is gone, or may be. Called once; afterwards the key is written anew. */
  constructor(
    private readonly bus: Bus,
    private readonly lost: () => void,
  ) {
    this.key = connectorLeaseKey(CONNECTOR, bus.instance);
  }

  /** False while sessions must not be opened. */
  get alive(): boolean {
    return this.revision > 0;
  }

  /** @throws Error when the key cannot be written. */
  async start(): Promise<void> {
    await this.write();
    this.timer = setInterval(() => this.tick(), this.bus.options.leaseTtlMs / 3);
  }

  async stop(): Promise<void> {
    clearInterval(this.timer);
    this.revision = 0;
    await this.bus.leases.delete(this.key);
  }

  private async write(): Promise<void> {
    const asked = Date.now();
    this.revision = await this.bus.leases.put(this.key, '1');
    this.renewedAt = asked;
  }

  private tick(): void {
    if (this.alive && Date.now() - this.renewedAt > this.bus.options.leaseTtlMs) this.giveUp('it was not renewed');
    if (this.renewing) return;
    this.renewing = true;
    (this.alive ? this.renew() : this.write())
      .catch((error: unknown) => this.bus.logger.warn({ error: String(error) }, 'could not show that MQTT is alive'))
      .finally(() => {
        this.renewing = false;
      });
  }

  private async renew(): Promise<void> {
    let asked = Date.now();
    try {
      const revision = await this.bus.leases.update(this.key, '1', this.revision);
      if (!this.alive) return;
      this.revision = revision;
    } catch {
      // An answer that was lost leaves our own newer revision behind; only this instance writes the key.
      const entry = await this.bus.leases.get(this.key);
      if (!this.alive) return;
      if (entry?.operation !== 'PUT') {
        this.giveUp('it was gone');
        await this.write();
        return;
      }
      // It may be the old one: only an update that is answered renews it.
      asked = Date.now();
      const revision = await this.bus.leases.update(this.key, '1', entry.revision);
      if (!this.alive) return;
      this.revision = revision;
    }
    this.renewedAt = asked;
  }

  private giveUp(why: string): void {
    this.bus.logger.warn({ key: this.key, why }, 'lost the key of this instance: its sessions end');
    this.revision = 0;
    this.lost();
  }
}
