import { Body, Controller, Get, Inject, Param, Patch, Post, Query, Req, Res } from '@nestjs/common';
import { ApiBody, ApiCreatedResponse, ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { ApiPagingV1, ForAccounts, pageV1, pagingV1, Requires, wantsTotal } from '@orrery/core/http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { parseRule } from './rule-document.js';
import { RuleChanges, RuleCreation, RuleView, ruleView } from './rule.dto.js';
import { RulesService } from './rules.service.js';

@ApiTags('administration: offers and options')
@ForAccounts('ADMIN')
@Controller('api/v1/admin/bss/rules')
export class RulesController {
  constructor(@Inject(RulesService) private readonly rules: RulesService) {}

  @Post()
  @Requires('SETTINGS_W')
  @ApiBody({ type: RuleCreation })
  @ApiCreatedResponse({ type: RuleView })
  async create(@Body() body: unknown): Promise<RuleView> {
    return ruleView(await this.rules.create(parseRule(body)));
  }

  @Get()
  @Requires('SETTINGS_R')
  @ApiPagingV1()
  @ApiOkResponse({ type: [RuleView] })
  async list(
    @Query() query: Record<string, unknown>,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<RuleView[]> {
    const paging = pagingV1(query);
    const [rules, total] = await this.rules.list(paging);
    return pageV1(reply, paging.limit, rules.map(ruleView), wantsTotal(request) ? total : undefined);
  }

  @Get(':ruleId')
  @Requires('SETTINGS_R')
  @ApiOkResponse({ type: RuleView })
  async get(@Param('ruleId') id: string): Promise<RuleView> {
    return ruleView(await this.rules.get(id));
  }

  @Patch(':ruleId')
  @Requires('SETTINGS_W')
  @ApiOkResponse({ type: RuleView })
  async change(@Param('ruleId') id: string, @Body() { disabled }: RuleChanges): Promise<RuleView> {
    return ruleView(await this.rules.setDisabled(id, disabled));
  }
}
