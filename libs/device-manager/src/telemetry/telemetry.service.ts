import type { Database } from '@orrery/core/database';
import { ApiError } from '@orrery/core/http';
import { checkDeviceId } from '../devices/inventory.js';

/** What a device's telemetry has said last. */
export interface TelemetryView {
  /** Absent until the device sends telemetry. */
  status?: string;
  message?: string;
  timestamp?: string;
  telemetries: Record<string, unknown>;
}

export class TelemetryService {
  constructor(private readonly database: Database) {}

  /** @throws ApiError 400, DM_DEVICE_NOT_FOUND */
  async get(tenantId: string, deviceId: string): Promise<TelemetryView> {
    checkDeviceId(deviceId);
    const [row] = await this.database.query<{
      telemetries: string | null;
      status: string;
      message: string | null;
      sent: Date;
    }>(
      `SELECT t.telemetries, t.status, t.message, t.sent FROM devices d
       LEFT JOIN device_telemetry t ON t.tenant_id = d.tenant_id AND t.device_id = d.id
       WHERE d.tenant_id = $1 AND d.id = $2`,
      [tenantId, deviceId],
    );
    if (!row) throw new ApiError('DM_DEVICE_NOT_FOUND');
    if (row.telemetries === null) return { telemetries: {} };
    return {
      status: row.status,
      ...(row.message === null ? {} : { message: row.message }),
      timestamp: row.sent.toISOString(),
      telemetries: JSON.parse(row.telemetries) as TelemetryView['telemetries'],
    };
  }
}
