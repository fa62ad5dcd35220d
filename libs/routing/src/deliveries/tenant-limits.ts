import type { ApiKeys } from '@orrery/core/auth';
import { type Bus, callRpc, RpcError, RpcUnavailableError, VersionedCache } from '@orrery/core/bus';
import { type LimitName, limitOf } from '@orrery/core/limits';
import { findMasterKey } from '@orrery/identity/contract';

/** Limits of tenants that nobody with an API key asks for: those of their master keys. */
export class TenantLimits {
  private readonly masterKeys: VersionedCache<{ hash: string }>;

  constructor(
    bus: Bus,
    private readonly apiKeys: ApiKeys,
  ) {
    this.masterKeys = new VersionedCache((tenantId) => callRpc(bus, findMasterKey, { tenantId }), 20_000);
  }

  /**
   * 0 for a tenant that does not exist any more.
   * @throws RpcUnavailableError when identity cannot be asked now.
   */
  async of(tenantId: string, name: LimitName): Promise<number> {
    try {
      const { hash } = await this.masterKeys.get(tenantId);
      const { key } = await this.apiKeys.findByHash(hash);
      return key ? limitOf(key.limits, name) : 0;
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      if (error.code === 'NOT_FOUND') return 0;
      throw new RpcUnavailableError(error.message);
    }
  }
}
