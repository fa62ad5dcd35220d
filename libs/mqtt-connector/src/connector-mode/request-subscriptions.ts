import type { Subscription } from '@nats-io/transport-node';
import { type Bus, serveRpc } from '@orrery/core/bus';
import {
  externalConnectorRequest,
  type NodeRequests,
  type RequestKind,
  REQUESTS_SUBSCRIBED,
  type RequestsSubscribedEvent,
  subscribedTo,
} from '@orrery/device-manager/contract';
import type { NodeReports } from '../nodes/node-reports.js';
import { EXTERNAL_CONNECTOR } from '../sessions/session-audit.js';

/** A session that takes requests. */
export interface RequestReceiver {
  /** @param body JSON text. @returns false when it cannot take more now. */
  receive(kind: RequestKind, body: string): boolean;
}

interface Group {
  tenantId: string;
  kind: RequestKind;
  /** Those who subscribe, and those who have. */
  users: number;
  /** Those whose clients know that they have subscribed. */
  readonly receivers: Set<RequestReceiver>;
  readonly subscription: Subscription;
}

/** The external connectors of this instance that take requests, by tenant and kind of request. */
export class RequestSubscriptions {
  private readonly groups = new Map<string, Group>();
  private stopListening?: () => void;

  constructor(
    private readonly bus: Bus,
    private readonly reports: NodeReports,
  ) {}

  start(): void {
    // What was asked meanwhile found nobody here.
    this.stopListening = this.bus.onReconnect(() => {
      for (const { tenantId, kind, receivers } of this.groups.values())
        if (receivers.size > 0) void this.announce(tenantId, kind);
    });
  }

  stop(): void {
    this.stopListening?.();
  }

  /** Resolves when requests come to this instance; `activate` or `remove` must follow. */
  async add(tenantId: string, kind: RequestKind): Promise<void> {
    const key = subscribedTo(tenantId, kind);
    const group = this.groups.get(key);
    if (group) group.users++;
    else this.groups.set(key, this.open(tenantId, kind, key));
    // While the bus is away, the subscription is made as soon as it is back.
    await this.bus.connection.flush().catch(() => undefined);
  }

  /** Hands requests to the receiver from now on. Resolves when those who send requests are told, or will be. */
  activate(tenantId: string, kind: RequestKind, receiver: RequestReceiver): Promise<void> {
    this.groups.get(subscribedTo(tenantId, kind))!.receivers.add(receiver);
    return this.announce(tenantId, kind);
  }

  /** @param receiver absent when it was not activated. */
  remove(tenantId: string, kind: RequestKind, receiver?: RequestReceiver): void {
    const key = subscribedTo(tenantId, kind);
    const group = this.groups.get(key)!;
    if (receiver) group.receivers.delete(receiver);
    if (--group.users > 0) return;
    group.subscription.unsubscribe();
    this.groups.delete(key);
  }

  private open(tenantId: string, kind: RequestKind, address: string): Group {
    const receivers = new Set<RequestReceiver>();
    const answer = (request: NodeRequests[RequestKind]): Promise<Record<string, never>> => {
      const body = JSON.stringify(request);
      const taken = [...receivers].filter((receiver) => receiver.receive(kind, body));
      // Silence when nobody takes it here: another instance may have somebody who does.
      return taken.length > 0 ? Promise.resolve({}) : new Promise(() => undefined);
    };
    const subscription = serveRpc(this.bus, externalConnectorRequest, answer, address);
    return { tenantId, kind, users: 1, receivers, subscription };
  }

  private announce(tenantId: string, kind: RequestKind): Promise<void> {
    const event: RequestsSubscribedEvent = {
      type: REQUESTS_SUBSCRIBED,
      connector: EXTERNAL_CONNECTOR,
      kind,
      timestamp: new Date().toISOString(),
    };
    return this.reports.tell(tenantId, tenantId, event);
  }
}
