import { Body, Controller, Delete, Get, HttpCode, Inject, Param, Post, Put, Query, Req, Res } from '@nestjs/common';
import { ApiBody, ApiOkResponse, ApiOperation, ApiQuery, ApiTags } from '@nestjs/swagger';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { ApiPagingV1, invalidParameter, Key, Limited, pageV1, pagingV1, Requires, wantsTotal } from '@orrery/core/http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { PolicyBacktestDto, PolicyBacktestRequestDto } from '../backtest/backtest.dto.js';
import { Backtests } from '../backtest/backtests.js';
import { ActionPoliciesService } from './action-policies.service.js';
import { ActionPolicyDto } from './action-policy.dto.js';
import { TRIGGER_TYPES, type TriggerType } from './policy-document.js';

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const checkedId = (id: string): string => {
  if (!UUID.test(id)) throw invalidParameter('policyId', 'a UUID');
  return id.toLowerCase();
};

// The manual names no role here; the vendor's public contract asks for DATA_PROCESSING_R and _W.
@ApiTags('Triggers and Actions')
@Controller('/api/v1/event2action/actionPolicies')
export class ActionPoliciesController {
  constructor(
    @Inject(ActionPoliciesService) private readonly policies: ActionPoliciesService,
    @Inject(Backtests) private readonly backtests: Backtests,
  ) {}

  @Get()
  @Requires('DATA_PROCESSING_R')
  @ApiPagingV1()
  @ApiQuery({ name: 'triggerType', required: false, enum: TRIGGER_TYPES })
  @ApiOkResponse({ type: [ActionPolicyDto] })
  async list(
    @Key() key: ApiKeyIdentity,
    @Query() query: Record<string, unknown>,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<ActionPolicyDto[]> {
    const paging = pagingV1(query);
    const type = query['triggerType'];
    if (type !== undefined && !TRIGGER_TYPES.includes(type as TriggerType))
      throw invalidParameter('triggerType', `one of ${TRIGGER_TYPES.join(', ')}`);
    const { policies, total } = await this.policies.list(key.tenantId, paging, type as TriggerType | undefined);
    return pageV1(reply, paging.limit, policies, wantsTotal(request) ? total : undefined);
  }

  @Post()
  @HttpCode(200)
  @Requires('DATA_PROCESSING_W')
  @ApiBody({ type: ActionPolicyDto })
  @ApiOkResponse({ type: ActionPolicyDto })
  create(@Key() key: ApiKeyIdentity, @Body() body: unknown): Promise<ActionPolicyDto> {
    return this.policies.create(key.tenantId, key.limits, body);
  }

  @Get(':policyId')
  @Requires('DATA_PROCESSING_R')
  @ApiOkResponse({ type: ActionPolicyDto })
  get(@Key() key: ApiKeyIdentity, @Param('policyId') id: string): Promise<ActionPolicyDto> {
    return this.policies.get(key.tenantId, checkedId(id));
  }

  @Post(':policyId/backtest')
  @HttpCode(200)
  @Limited({ concurrent: 'httpConcurrentHeavy' })
  @Requires('DATA_PROCESSING_R', 'DATA_R')
  @ApiOperation({ summary: 'What the policy would have done in a time that is stored, without any effect' })
  @ApiBody({ type: PolicyBacktestRequestDto })
  @ApiOkResponse({ type: PolicyBacktestDto })
  backtest(
    @Key() key: ApiKeyIdentity,
    @Param('policyId') id: string,
    @Body() body: unknown,
  ): Promise<PolicyBacktestDto> {
    return this.backtests.run(key, checkedId(id), body);
  }

  @Put(':policyId')
  @Requires('DATA_PROCESSING_W')
  @ApiBody({ type: ActionPolicyDto })
  @ApiOkResponse({ type: ActionPolicyDto })
  update(@Key() key: ApiKeyIdentity, @Param('policyId') id: string, @Body() body: unknown): Promise<ActionPolicyDto> {
    return this.policies.update(key.tenantId, checkedId(id), body);
  }

  @Delete(':policyId')
  @HttpCode(204)
  @Requires('DATA_PROCESSING_W')
  delete(@Key() key: ApiKeyIdentity, @Param('policyId') id: string): Promise<void> {
    return this.policies.delete(key.tenantId, checkedId(id));
  }
}
