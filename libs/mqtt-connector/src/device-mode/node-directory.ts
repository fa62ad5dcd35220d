import { type Bus, callRpc, RpcError, VersionedCache } from '@orrery/core/bus';
import type { LimitValues } from '@orrery/core/limits';
import { type ResolvedNode, resolveNode } from '@orrery/device-manager/contract';
import { CONNECTOR } from '../sessions/session-audit.js';

const CACHED_NODES = 100_000;

/** One key for what is known of a client in its tenant. */
export const nodeKey = (tenantId: string, clientId: string): string => `${tenantId}\n${clientId}`;

/** Finds the device of a client id; remembers the answers until a change is announced. */
export class NodeDirectory {
  private readonly known: VersionedCache<ResolvedNode>;

  constructor(private readonly bus: Bus) {
    this.known = new VersionedCache((key) => {
      const [tenantId, nodeId] = key.split('\n') as [string, string];
      return this.ask(tenantId, nodeId, false, {});
    }, CACHED_NODES);
  }

  /** @throws RpcError DM_INTERFACE_NOT_FOUND; RpcUnavailableError. */
  find(tenantId: string, clientId: string): Promise<ResolvedNode> {
    return this.known.get(nodeKey(tenantId, clientId));
  }

  /** Registers an unknown client (manual 6.5.3). @throws RpcError as `resolveNode`; RpcUnavailableError. */
  async findOrRegister(tenantId: string, clientId: string, limits: LimitValues): Promise<ResolvedNode> {
    try {
      return await this.find(tenantId, clientId);
    } catch (error) {
      if (error instanceof RpcError && error.code === 'DM_INTERFACE_NOT_FOUND')
        return this.ask(tenantId, clientId, true, limits);
      throw error;
    }
  }

  /** The URN that the client's device has, or would be registered with (manual 6.5.2). @throws RpcUnavailableError */
  async urnOf(tenantId: string, clientId: string): Promise<string> {
    try {
      return (await this.find(tenantId, clientId)).device.deviceId;
    } catch (error) {
      if (!(error instanceof RpcError && error.code === 'DM_INTERFACE_NOT_FOUND')) throw error;
      return clientId.startsWith('urn:lo:') ? clientId : `urn:lo:nsid:mqtt:${clientId}`;
    }
  }

  forget(tenantId: string, clientId: string): void {
    this.known.invalidate(nodeKey(tenantId, clientId));
  }

  forgetAll(): void {
    this.known.clear();
  }

  private ask(tenantId: string, nodeId: string, autoRegister: boolean, limits: LimitValues): Promise<ResolvedNode> {
    return callRpc(this.bus, resolveNode, { tenantId, connector: CONNECTOR, nodeId, autoRegister, limits });
  }
}
