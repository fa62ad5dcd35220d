import { Body, Controller, Delete, Get, HttpCode, Inject, Param, Put } from '@nestjs/common';
import { ApiBody, ApiNoContentResponse, ApiOkResponse, ApiTags } from '@nestjs/swagger';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { Key, Requires } from '@orrery/core/http';
import type { OfferSettings, SettingsSection } from '@orrery/core/limits';
import { SECTION_SCHEMA, TenantView } from './tenant.dto.js';
import { statusOf } from './tenant.entity.js';
import { TenantsService } from './tenants.service.js';

@ApiTags('tenants')
@Controller('api/v0/tenants/me')
export class TenantsController {
  constructor(@Inject(TenantsService) private readonly tenants: TenantsService) {}

  @Get()
  @Requires()
  @ApiOkResponse({ type: TenantView })
  async me(@Key() key: ApiKeyIdentity): Promise<TenantView> {
    const tenant = await this.tenants.get(key.tenantId);
    const { id, name, accountType, offerSettings, created } = tenant;
    return {
      id,
      name,
      accountType,
      status: statusOf(tenant),
      offerSettings,
      ...(key.roles.includes('SETTINGS_R') ? { userSettings: await this.tenants.settings(id) } : {}),
      masterApiKeyId: await this.tenants.masterKeyId(id),
      creationTs: created.getTime(),
    };
  }

  @Get('settings')
  @Requires('SETTINGS_R')
  @ApiOkResponse({ schema: { type: 'object', additionalProperties: SECTION_SCHEMA } })
  settings(@Key() key: ApiKeyIdentity): Promise<OfferSettings> {
    return this.tenants.settings(key.tenantId);
  }

  @Put('settings/:section')
  @Requires('SETTINGS_W')
  @ApiBody({ schema: { type: 'object', additionalProperties: true } })
  @ApiOkResponse({ schema: SECTION_SCHEMA })
  setSection(
    @Key() key: ApiKeyIdentity,
    @Param('section') section: string,
    @Body() content: unknown,
  ): Promise<SettingsSection> {
    return this.tenants.setSection(key.tenantId, section, content);
  }

  @Delete('settings/:section')
  @HttpCode(204)
  @Requires('SETTINGS_W')
  @ApiNoContentResponse()
  removeSection(@Key() key: ApiKeyIdentity, @Param('section') section: string): Promise<void> {
    return this.tenants.removeSection(key.tenantId, section);
  }
}
