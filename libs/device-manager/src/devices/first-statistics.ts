import type { Database } from '@orrery/core/database';
import type { Logger } from '@orrery/core/telemetry';

/** Devices after which the statistics are first looked at. */
const FIRST = 200;
const STEP = 4;

/**
 * Keeps the planner from believing, while thousands of devices register on a new platform, that a tenant has one. It then
 * checks each foreign key to `devices` by reading all devices of the tenant, through any index that begins with it, and
 * keeps that plan until the table is analyzed: PostgreSQL thinks of it once a minute.
 */
export class FirstStatistics {
  private written = 0;
  private next = FIRST;
  private analyzing?: Promise<void>;

  constructor(
    private readonly database: Database,
    private readonly logger: Logger,
  ) {}

  /** So many devices more have been written. */
  grown(devices: number): void {
    this.written += devices;
    if (this.written < this.next || this.analyzing) return;
    this.next = this.written * STEP;
    this.analyzing = this.analyze(this.written)
      .catch((error: unknown) => this.logger.warn({ error: String(error) }, 'could not analyze the tables of devices'))
      .finally(() => {
        delete this.analyzing;
      });
  }

  async idle(): Promise<void> {
    await this.analyzing;
  }

  private async analyze(atLeast: number): Promise<void> {
    const [table] = await this.database.query<{ reltuples: number }>(
      `SELECT reltuples FROM pg_class WHERE oid = 'devices'::regclass`,
    );
    if (table && table.reltuples < atLeast)
      await this.database.query('ANALYZE devices, interfaces, device_states, device_interfaces');
  }
}
