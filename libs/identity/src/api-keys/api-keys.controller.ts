import { Body, Controller, Delete, Get, HttpCode, Inject, Param, Post, Put, Query } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { ApiPagingV0, Key, pageV0, pagingV0, Requires } from '@orrery/core/http';
import { ApiKeyChanges, ApiKeyCreation, ApiKeyPage, ApiKeyView, CreatedApiKey, DebugMode } from './api-key.dto.js';
import type { ApiKeyInForce } from './api-key.entity.js';
import { ApiKeysService } from './api-keys.service.js';

@ApiTags('API keys')
@Controller('api/v0/apiKeys')
export class ApiKeysController {
  constructor(@Inject(ApiKeysService) private readonly keys: ApiKeysService) {}

  @Post()
  @HttpCode(200)
  @Requires('API_KEY_W')
  @ApiOkResponse({ type: CreatedApiKey })
  async create(@Key() caller: ApiKeyIdentity, @Body() creation: ApiKeyCreation): Promise<CreatedApiKey> {
    const { key, value } = await this.keys.create(caller, creation);
    return { ...view(key), value };
  }

  @Get()
  @Requires('API_KEY_R')
  @ApiPagingV0()
  @ApiOkResponse({ type: ApiKeyPage })
  async list(@Key() caller: ApiKeyIdentity, @Query() query: Record<string, unknown>): Promise<ApiKeyPage> {
    const paging = pagingV0(query);
    const [keys, total] = await this.keys.list(caller.tenantId, paging);
    return pageV0(paging, total, keys.map(view));
  }

  @Get(':apiKeyId')
  @Requires('API_KEY_R')
  @ApiOkResponse({ type: ApiKeyView })
  async get(@Key() caller: ApiKeyIdentity, @Param('apiKeyId') id: string): Promise<ApiKeyView> {
    return view(await this.keys.get(caller.tenantId, id));
  }

  @Post(':apiKeyId')
  @HttpCode(200)
  @Requires('API_KEY_W')
  @ApiOkResponse({ type: ApiKeyView })
  async change(
    @Key() caller: ApiKeyIdentity,
    @Param('apiKeyId') id: string,
    @Body() changes: ApiKeyChanges,
  ): Promise<ApiKeyView> {
    return view(await this.keys.change(caller, id, changes));
  }

  @Delete(':apiKeyId')
  @Requires('API_KEY_W')
  @ApiOkResponse()
  async remove(@Key() caller: ApiKeyIdentity, @Param('apiKeyId') id: string): Promise<void> {
    await this.keys.remove(caller.tenantId, id);
  }

  @Put(':apiKeyId/debugMode')
  @Requires('API_KEY_W')
  @ApiOkResponse({ type: ApiKeyView })
  async setDebugMode(
    @Key() caller: ApiKeyIdentity,
    @Param('apiKeyId') id: string,
    @Body() mode: DebugMode,
  ): Promise<ApiKeyView> {
    return view(await this.keys.setDebugMode(caller.tenantId, id, mode));
  }
}

export function view(key: ApiKeyInForce): ApiKeyView {
  return {
    id: key.id,
    ...(key.parentId === null ? {} : { parentId: key.parentId }),
    tenantId: key.tenantId,
    label: key.label,
    roles: key.roles,
    active: key.active,
    masterKey: key.parentId === null,
    scope: { fifos: key.fifos },
    ...(key.caCertIds.length > 0 ? { clientCert: { caCertIds: key.caCertIds, required: key.clientCertRequired } } : {}),
    creationTs: key.created.getTime(),
    ...(key.from ? { from: key.from.getTime() } : {}),
    ...(key.to ? { to: key.to.getTime() } : {}),
    ...(key.debugUntil && key.debugUntil.getTime() > Date.now() ? { debugModeEndTs: key.debugUntil.getTime() } : {}),
  };
}
