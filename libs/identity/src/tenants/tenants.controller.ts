import { Controller, Get, Inject } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { Key, Requires } from '@orrery/core/http';
import { TenantView } from './tenant.dto.js';
import { TenantsService } from './tenants.service.js';

@ApiTags('tenants')
@Controller('api/v0/tenants')
export class TenantsController {
  constructor(@Inject(TenantsService) private readonly tenants: TenantsService) {}

  @Get('me')
  @Requires()
  @ApiOkResponse({ type: TenantView })
  async me(@Key() key: ApiKeyIdentity): Promise<TenantView> {
    const { id, name } = await this.tenants.get(key.tenantId);
    return { id, name };
  }
}
