import type { Subscription } from '@nats-io/transport-node';
import type { Bus } from '@orrery/core/bus';
import { DEVICE_CONTROL, type DeviceChange, GROUP_CONTROL, type GroupChange } from '@orrery/device-manager/contract';
import { Reason } from '../server/return-codes.js';
import type { Ending } from '../server/session.js';
import { CONNECTOR } from '../sessions/session-audit.js';
import type { DeviceSession } from './device-session.js';
import { type NodeDirectory, nodeKey } from '../nodes/node-directory.js';

const TAKE_OVER = 'mqtt.takeover';

/** Sent to all instances by whoever holds a session: older ones of the same client end. */
interface TakeOver {
  tenantId: string;
  clientId: string;
  order: number;
  instance: string;
}

/** Devices that are asked for at once after a reconnection. */
const CHECKED_AT_ONCE = 32;

/** The device sessions of this instance: one per client and tenant, in all instances together. */
export class DeviceSessions {
  private readonly byNode = new Map<string, Set<DeviceSession>>();
  private subscriptions: Subscription[] = [];
  private stopListening?: () => void;
  private readonly toCheck = new Set<DeviceSession>();
  private checking = 0;

  constructor(
    private readonly bus: Bus,
    private readonly directory: NodeDirectory,
  ) {}

  start(): void {
    const { bus } = this;
    this.subscriptions = [
      bus.connection.subscribe(TAKE_OVER, {
        callback: (error, message) => {
          if (!error) this.onTakeOver(message.json<TakeOver>());
        },
      }),
      bus.onControl(DEVICE_CONTROL, ({ header }) => this.onDeviceChange(JSON.parse(header) as DeviceChange)),
      bus.onControl(GROUP_CONTROL, ({ header }) => this.onGroupChange(JSON.parse(header) as GroupChange)),
    ];
    this.stopListening = bus.onReconnect(() => this.onReconnect());
  }

  stop(): void {
    for (const subscription of this.subscriptions) subscription.unsubscribe();
    this.stopListening?.();
  }

  add(session: DeviceSession): void {
    const key = nodeKey(session.tenantId, session.clientId);
    const sharing = this.byNode.get(key);
    if (sharing) sharing.add(session);
    else this.byNode.set(key, new Set([session]));
  }

  remove(session: DeviceSession): void {
    this.toCheck.delete(session);
    const key = nodeKey(session.tenantId, session.clientId);
    const sharing = this.byNode.get(key);
    if (sharing?.delete(session) && sharing.size === 0) this.byNode.delete(key);
  }

  has(tenantId: string, clientId: string): boolean {
    return this.byNode.has(nodeKey(tenantId, clientId));
  }

  /** Ends the older sessions of this client, wherever they are. */
  takeOver({ tenantId, clientId, order }: DeviceSession): void {
    const message: TakeOver = { tenantId, clientId, order: order!, instance: this.bus.instance };
    this.bus.connection.publish(TAKE_OVER, JSON.stringify(message));
  }

  endAll(ending: Ending): void {
    for (const session of this.all()) session.connection.close(ending);
  }

  private *all(): Generator<DeviceSession> {
    for (const sessions of this.byNode.values()) yield* sessions;
  }

  private onTakeOver({ tenantId, clientId, order }: TakeOver): void {
    for (const session of this.byNode.get(nodeKey(tenantId, clientId)) ?? []) {
      if (session.order === undefined || session.order === order) continue;
      if (session.order < order)
        session.connection.close({
          description: 'another connection with this client id took over',
          reason: Reason.SessionTakenOver,
          replaced: true,
        });
      // The sender missed our own message: it came late, or was disconnected.
      else this.takeOver(session);
    }
  }

  private onDeviceChange({ tenantId, nodes }: DeviceChange): void {
    for (const { connector, nodeId } of nodes) {
      if (connector !== CONNECTOR) continue;
      this.directory.forget(tenantId, nodeId);
      for (const session of this.byNode.get(nodeKey(tenantId, nodeId)) ?? []) this.check(session);
    }
  }

  // For most, groups decide nothing but a field of messages: such a session asks when it next publishes.
  private onGroupChange({ tenantId }: GroupChange): void {
    this.directory.forgetTenant(tenantId);
    for (const session of this.all())
      if (session.tenantId !== tenantId) continue;
      else if (session.watchesGroup) this.check(session);
      else session.invalidate();
  }

  private onReconnect(): void {
    this.directory.forgetAll();
    for (const session of this.all()) {
      this.check(session);
      if (session.order !== undefined) this.takeOver(session);
    }
  }

  private check(session: DeviceSession): void {
    session.invalidate();
    this.toCheck.add(session);
    while (this.checking < CHECKED_AT_ONCE && this.toCheck.size > 0) void this.checkNext();
  }

  private async checkNext(): Promise<void> {
    this.checking++;
    for (const session of this.toCheck) {
      this.toCheck.delete(session);
      if (session.order !== undefined) await session.reload();
    }
    this.checking--;
  }
}
