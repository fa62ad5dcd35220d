import { Body, Controller, Delete, Get, HttpCode, Inject, Param, Post, Put, Query } from '@nestjs/common';
import { ApiCreatedResponse, ApiNoContentResponse, ApiOkResponse, ApiQuery, ApiTags } from '@nestjs/swagger';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { invalidParameter, Key, Requires, requireSection } from '@orrery/core/http';
import { UNKEPT } from '../rules/rule-document.js';
import { SECTION } from '../section.js';
import { ActivityRuleDto, ActivityRuleView } from './activity-rule.dto.js';
import { ActivityRulesService } from './activity-rules.service.js';

@ApiTags('Event processing - Activity')
@Controller('/api/v0/eventprocessing/activity/rules')
export class ActivityRulesController {
  constructor(@Inject(ActivityRulesService) private readonly rules: ActivityRulesService) {}

  @Get()
  @Requires('DATA_PROCESSING_R')
  @ApiQuery({ name: 'name', required: false })
  @ApiOkResponse({ type: [ActivityRuleView] })
  list(@Key() key: ApiKeyIdentity, @Query('name') name: unknown): Promise<ActivityRuleView[]> {
    if (name !== undefined && (typeof name !== 'string' || UNKEPT.test(name)))
      throw invalidParameter('name', 'the name of a rule');
    return this.rules.list(key.tenantId, name);
  }

  @Post()
  @HttpCode(201)
  @Requires('DATA_PROCESSING_W')
  @ApiCreatedResponse({ type: ActivityRuleView })
  create(@Key() key: ApiKeyIdentity, @Body() body: ActivityRuleDto): Promise<ActivityRuleView> {
    requireSection(key, SECTION);
    return this.rules.create(key.tenantId, key.limits, body);
  }

  @Get(':activityRuleId')
  @Requires('DATA_PROCESSING_R')
  @ApiOkResponse({ type: ActivityRuleView })
  get(@Key() key: ApiKeyIdentity, @Param('activityRuleId') id: string): Promise<ActivityRuleView> {
    return this.rules.get(key.tenantId, id);
  }

  @Put(':activityRuleId')
  @HttpCode(204)
  @Requires('DATA_PROCESSING_W')
  @ApiNoContentResponse({ description: 'The states of all devices for the rule are UNKNOWN from now on' })
  update(
    @Key() key: ApiKeyIdentity,
    @Param('activityRuleId') id: string,
    @Body() body: ActivityRuleDto,
  ): Promise<void> {
    requireSection(key, SECTION);
    return this.rules.update(key.tenantId, key.limits, id, body);
  }

  @Delete(':activityRuleId')
  @HttpCode(204)
  @Requires('DATA_PROCESSING_W')
  delete(@Key() key: ApiKeyIdentity, @Param('activityRuleId') id: string): Promise<void> {
    return this.rules.delete(key.tenantId, id);
  }
}
