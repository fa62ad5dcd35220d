import { Body, Controller, Delete, Get, HttpCode, Inject, Param, Post, Query } from '@nestjs/common';
import { ApiBody, ApiOkResponse, ApiQuery, ApiTags } from '@nestjs/swagger';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { ApiPagingV0, Key, pagingV0, Requires } from '@orrery/core/http';
import { FiringGuardDto, GuardSelectionDto } from './guard.dto.js';
import { GuardsService, parseSelection } from './guards.service.js';

@ApiTags('Event processing - Firing')
@Controller('/api/v0/eventprocessing/firing-guard')
export class GuardsController {
  constructor(@Inject(GuardsService) private readonly guards: GuardsService) {}

  @Get()
  @Requires('DATA_PROCESSING_R')
  @ApiPagingV0()
  @ApiQuery({ name: 'firingRuleId', required: false })
  @ApiOkResponse({ type: [FiringGuardDto], description: 'Newest first' })
  list(@Key() key: ApiKeyIdentity, @Query() query: Record<string, unknown>): Promise<FiringGuardDto[]> {
    const { firingRuleId } = query;
    return this.guards.list(
      key.tenantId,
      pagingV0(query),
      firingRuleId === undefined ? undefined : parseSelection({ firingRuleId }),
    );
  }

  @Post('search')
  @HttpCode(200)
  @Requires('DATA_PROCESSING_R')
  @ApiPagingV0()
  @ApiBody({ type: GuardSelectionDto })
  @ApiOkResponse({ type: [FiringGuardDto], description: 'Newest first' })
  search(
    @Key() key: ApiKeyIdentity,
    @Query() query: Record<string, unknown>,
    @Body() body: unknown,
  ): Promise<FiringGuardDto[]> {
    return this.guards.list(key.tenantId, pagingV0({ size: '1000', ...query }), parseSelection(body));
  }

  @Delete()
  @HttpCode(200)
  @Requires('DATA_PROCESSING_W')
  @ApiBody({ type: GuardSelectionDto })
  @ApiOkResponse({ type: Number, description: 'How many there were' })
  deleteSelected(@Key() key: ApiKeyIdentity, @Body() body: unknown): Promise<number> {
    return this.guards.deleteSelected(key.tenantId, parseSelection(body));
  }

  @Get(':firingGuardId')
  @Requires('DATA_PROCESSING_R')
  @ApiOkResponse({ type: FiringGuardDto })
  get(@Key() key: ApiKeyIdentity, @Param('firingGuardId') id: string): Promise<FiringGuardDto> {
    return this.guards.get(key.tenantId, id);
  }

  @Delete(':firingGuardId')
  @HttpCode(204)
  @Requires('DATA_PROCESSING_W')
  delete(@Key() key: ApiKeyIdentity, @Param('firingGuardId') id: string): Promise<void> {
    return this.guards.delete(key.tenantId, id);
  }
}
