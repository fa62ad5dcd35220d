import { createHash } from 'node:crypto';
import type { Subscription } from '@nats-io/transport-node';
import { type Bus, callRpc, VersionedCache } from '@orrery/core/bus';
import {
  DEVICE_CONTROL,
  type DeviceAccess,
  type DeviceChange,
  findDeviceAccess,
} from '@orrery/device-manager/contract';
import { CONNECTOR } from '../sessions/session-audit.js';

const CACHED = 100_000;
/** As device-manager gives them; what is written in another way is nobody's. */
const FORM = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Access keys are long and random, so a plain digest is enough. */
export const hashAccessKey = (accessKey: string): string => createHash('sha256').update(accessKey).digest('hex');

/** Who has which DEVICE_ID; remembers the answers until a change is announced. */
export class DeviceAccesses {
  private readonly known: VersionedCache<{ access: DeviceAccess | null }>;
  private subscription?: Subscription;
  private stopListening?: () => void;

  constructor(private readonly bus: Bus) {
    this.known = new VersionedCache((id) => callRpc(bus, findDeviceAccess, { id }), CACHED);
  }

  start(): void {
    this.subscription = this.bus.onControl(DEVICE_CONTROL, ({ header }) => {
      for (const { connector, nodeId } of (JSON.parse(header) as DeviceChange).nodes)
        if (connector === CONNECTOR) this.forget(nodeId);
    });
    this.stopListening = this.bus.onReconnect(() => this.known.clear());
  }

  stop(): void {
    this.subscription?.unsubscribe();
    this.stopListening?.();
  }

  /** @throws RpcUnavailableError */
  async find(id: string): Promise<DeviceAccess | null> {
    return FORM.test(id) ? (await this.known.get(id)).access : null;
  }

  forget(id: string): void {
    this.known.invalidate(id);
  }
}
