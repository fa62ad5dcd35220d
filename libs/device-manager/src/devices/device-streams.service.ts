import type { ApiKeyIdentity } from '@orrery/core/auth';
import { type Bus, callRpc } from '@orrery/core/bus';
import type { Database } from '@orrery/core/database';
import { limitOf } from '@orrery/core/limits';
import { type DeviceStream, streamsOfDevice } from '@orrery/search/contract';
import { checkDeviceId, loadDevice } from './inventory.js';

const DAY_MS = 24 * 3600 * 1000;
/** Longer than a search may take. */
const TIMEOUT_MS = 15_000;

/** Which streams devices send to, as the index knows it. */
export class DeviceStreamsService {
  constructor(
    private readonly bus: Bus,
    private readonly database: Database,
  ) {}

  /** @throws DM_DEVICE_NOT_FOUND; RpcUnavailableError when the index can't be asked. */
  async list({ tenantId, limits }: ApiKeyIdentity, deviceId: string, limit: number): Promise<DeviceStream[]> {
    checkDeviceId(deviceId);
    await loadDevice(this.database.manager, tenantId, deviceId);
    const since = Math.max(0, Date.now() - limitOf(limits, 'searchDays') * DAY_MS);
    const question = { tenantId, deviceId, from: new Date(since).toISOString(), limit };
    return (await callRpc(this.bus, streamsOfDevice, question, { timeoutMs: TIMEOUT_MS })).streams;
  }
}
