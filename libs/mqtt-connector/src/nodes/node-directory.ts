import { type Bus, callRpc, RpcError, VersionedCache } from '@orrery/core/bus';
import type { LimitValues } from '@orrery/core/limits';
import { type ResolvedNode, resolveNode } from '@orrery/device-manager/contract';

const CACHED_NODES = 100_000;

/** One key for what is known of a node in its tenant. */
export const nodeKey = (tenantId: string, nodeId: string): string => `${tenantId}\n${nodeId}`;

/** The answer of the inventory when it has no such node. */
export const isUnknownNode = (error: unknown): boolean =>
  error instanceof RpcError && error.code === 'DM_INTERFACE_NOT_FOUND';

/** Finds the devices of a connector's nodes; remembers the answers until a change is announced. */
export class NodeDirectory {
  private readonly known: VersionedCache<ResolvedNode>;

  constructor(
    private readonly bus: Bus,
    private readonly connector: string,
  ) {
    this.known = new VersionedCache((key) => {
      const [tenantId, nodeId] = key.split('\n') as [string, string];
      return this.ask(tenantId, nodeId, false, {});
    }, CACHED_NODES);
  }

  /** The node when it is in memory. */
  peek(tenantId: string, nodeId: string): ResolvedNode | undefined {
    return this.known.peek(nodeKey(tenantId, nodeId));
  }

  /** @throws RpcError DM_INTERFACE_NOT_FOUND; RpcUnavailableError. */
  find(tenantId: string, nodeId: string): Promise<ResolvedNode> {
    return this.known.get(nodeKey(tenantId, nodeId));
  }

  /** Registers an unknown node (manual 5.3.3.2). @throws RpcError as `resolveNode`; RpcUnavailableError. */
  async findOrRegister(tenantId: string, nodeId: string, limits: LimitValues): Promise<ResolvedNode> {
    const registering = (): Promise<ResolvedNode> => this.ask(tenantId, nodeId, true, limits);
    try {
      return await this.known.get(nodeKey(tenantId, nodeId), registering);
    } catch (error) {
      // It was being looked for by somebody who does not register it.
      if (isUnknownNode(error)) return registering();
      throw error;
    }
  }

  forget(tenantId: string, nodeId: string): void {
    this.known.invalidate(nodeKey(tenantId, nodeId));
  }

  /** Forgets all nodes of the tenant. */
  forgetTenant(tenantId: string): void {
    const start = nodeKey(tenantId, '');
    this.known.invalidateWhere((key) => key.startsWith(start));
  }

  forgetAll(): void {
    this.known.clear();
  }

  private ask(tenantId: string, nodeId: string, autoRegister: boolean, limits: LimitValues): Promise<ResolvedNode> {
    return callRpc(this.bus, resolveNode, { tenantId, connector: this.connector, nodeId, autoRegister, limits });
  }
}
