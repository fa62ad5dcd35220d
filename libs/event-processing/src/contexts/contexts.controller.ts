import { Body, Controller, Delete, Get, HttpCode, Inject, Param, Put, Query } from '@nestjs/common';
import { ApiBody, ApiCreatedResponse, ApiOkResponse, ApiQuery, ApiTags } from '@nestjs/swagger';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { ApiPagingV0, invalidParameter, Key, pagingV0, Requires, requireSection } from '@orrery/core/http';
import { UNKEPT } from '../rules/rule-document.js';
import { SECTION } from '../section.js';
import { checkedKey, parseContext, parseGeozone } from './context-document.js';
import { ContextDto, GeozoneDto } from './context.dto.js';
import type { ContextsService } from './contexts.service.js';

export const CONTEXTS = Symbol('contexts');
export const GEOZONES = Symbol('geozones');

@ApiTags('Event processing - Context')
@Controller('/api/v0/eventprocessing/context')
export class ContextsController {
  constructor(@Inject(CONTEXTS) private readonly contexts: ContextsService<ContextDto>) {}

  @Get()
  @Requires('DATA_PROCESSING_R')
  @ApiPagingV0()
  @ApiQuery({ name: 'tags', required: false, type: [String], description: 'Contexts that hold all of these tags' })
  @ApiOkResponse({ type: [ContextDto] })
  list(@Key() key: ApiKeyIdentity, @Query() query: Record<string, unknown>): Promise<ContextDto[]> {
    const tags = [query['tags'] ?? []].flat();
    if (!tags.every((tag): tag is string => typeof tag === 'string' && !UNKEPT.test(tag)))
      throw invalidParameter('tags', 'a tag, or several');
    return this.contexts.list(key.tenantId, pagingV0(query), tags);
  }

  @Delete()
  @HttpCode(200)
  @Requires('DATA_PROCESSING_W')
  @ApiOkResponse({ type: Number, description: 'How many there were' })
  deleteAll(@Key() key: ApiKeyIdentity): Promise<number> {
    return this.contexts.deleteAll(key.tenantId);
  }

  @Get(':contextKey')
  @Requires('DATA_PROCESSING_R')
  @ApiOkResponse({ type: ContextDto })
  get(@Key() key: ApiKeyIdentity, @Param('contextKey') contextKey: string): Promise<ContextDto> {
    return this.contexts.get(key.tenantId, checkedKey('contextKey', contextKey));
  }

  @Put(':contextKey')
  @Requires('DATA_PROCESSING_W')
  @ApiBody({ type: ContextDto })
  @ApiOkResponse({ type: ContextDto })
  put(@Key() key: ApiKeyIdentity, @Param('contextKey') contextKey: string, @Body() body: unknown): Promise<ContextDto> {
    requireSection(key, SECTION);
    return this.contexts.put(key.tenantId, checkedKey('contextKey', contextKey), parseContext(body));
  }

  @Delete(':contextKey')
  @HttpCode(204)
  @Requires('DATA_PROCESSING_W')
  delete(@Key() key: ApiKeyIdentity, @Param('contextKey') contextKey: string): Promise<void> {
    return this.contexts.delete(key.tenantId, checkedKey('contextKey', contextKey));
  }
}

@ApiTags('Event processing - Geozone')
@Controller('/api/v0/eventprocessing/geozones')
export class GeozonesController {
  constructor(@Inject(GEOZONES) private readonly geozones: ContextsService<GeozoneDto>) {}

  @Get()
  @Requires('DATA_PROCESSING_R')
  @ApiPagingV0()
  @ApiOkResponse({ type: [GeozoneDto] })
  list(@Key() key: ApiKeyIdentity, @Query() query: Record<string, unknown>): Promise<GeozoneDto[]> {
    return this.geozones.list(key.tenantId, pagingV0(query));
  }

  @Get(':zoneId')
  @Requires('DATA_PROCESSING_R')
  @ApiOkResponse({ type: GeozoneDto })
  get(@Key() key: ApiKeyIdentity, @Param('zoneId') zoneId: string): Promise<GeozoneDto> {
    return this.geozones.get(key.tenantId, checkedKey('zoneId', zoneId));
  }

  @Put(':zoneId')
  @HttpCode(201)
  @Requires('DATA_PROCESSING_W')
  @ApiBody({ type: GeozoneDto })
  @ApiCreatedResponse({ type: GeozoneDto, description: 'Created or replaced' })
  put(@Key() key: ApiKeyIdentity, @Param('zoneId') zoneId: string, @Body() body: unknown): Promise<GeozoneDto> {
    requireSection(key, SECTION);
    return this.geozones.put(key.tenantId, checkedKey('zoneId', zoneId), parseGeozone(body));
  }

  @Delete(':zoneId')
  @HttpCode(204)
  @Requires('DATA_PROCESSING_W')
  delete(@Key() key: ApiKeyIdentity, @Param('zoneId') zoneId: string): Promise<void> {
    return this.geozones.delete(key.tenantId, checkedKey('zoneId', zoneId));
  }
}
