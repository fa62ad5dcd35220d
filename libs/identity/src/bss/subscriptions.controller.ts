import { Controller, Delete, Get, HttpCode, Inject, Param, Post, Query } from '@nestjs/common';
import { ApiCreatedResponse, ApiNoContentResponse, ApiOkResponse, ApiQuery, ApiTags } from '@nestjs/swagger';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { ForAccounts, invalidParameter, Key, Requires } from '@orrery/core/http';
import { RuleView, ruleView, SubscriptionView, subscriptionView } from './rule.dto.js';
import type { RuleSelector } from './rules.service.js';
import { SubscriptionsService } from './subscriptions.service.js';

type QueryString = Record<string, unknown>;

const SELECTORS = ['ruleId', 'ruleName', 'ruleDisplayName'] as const;

@ApiTags('vendor: offers and options')
@ForAccounts('VENDOR', 'ADMIN')
@Controller('api/v1/vendor/bss/customers/:tenantId')
export class SubscriptionsController {
  constructor(@Inject(SubscriptionsService) private readonly subscriptions: SubscriptionsService) {}

  @Get('compliance/validated')
  @Requires('SETTINGS_R')
  @ApiOkResponse({ type: [RuleView] })
  async validated(@Key() caller: ApiKeyIdentity, @Param('tenantId') tenantId: string): Promise<RuleView[]> {
    return (await this.subscriptions.validated(caller, tenantId)).map(ruleView);
  }

  @Post('subscriptions')
  @Requires('SETTINGS_W')
  @ApiQuery({ name: 'ruleId', required: false })
  @ApiQuery({ name: 'ruleName', required: false })
  @ApiQuery({ name: 'ruleDisplayName', required: false, description: 'follows the versions to come' })
  @ApiCreatedResponse({ type: SubscriptionView })
  async subscribe(
    @Key() caller: ApiKeyIdentity,
    @Param('tenantId') tenantId: string,
    @Query() query: QueryString,
  ): Promise<SubscriptionView> {
    return subscriptionView(await this.subscriptions.subscribe(caller, tenantId, selector(query)));
  }

  @Get('subscriptions')
  @Requires('SETTINGS_R')
  @ApiOkResponse({ type: [SubscriptionView] })
  async list(@Key() caller: ApiKeyIdentity, @Param('tenantId') tenantId: string): Promise<SubscriptionView[]> {
    return (await this.subscriptions.list(caller, tenantId)).map(subscriptionView);
  }

  @Delete('subscriptions')
  @HttpCode(204)
  @Requires('SETTINGS_W')
  @ApiQuery({ name: 'ruleId' })
  @ApiNoContentResponse()
  async unsubscribe(
    @Key() caller: ApiKeyIdentity,
    @Param('tenantId') tenantId: string,
    @Query() query: QueryString,
  ): Promise<void> {
    const chosen = selector(query);
    if (!('id' in chosen)) throw invalidParameter('ruleId', 'the id of the rule; no other selector');
    await this.subscriptions.unsubscribe(caller, tenantId, chosen.id);
  }
}

/** @throws ApiError 400 unless the rule is designated in exactly one way (manual 21.3) */
function selector(query: QueryString): RuleSelector {
  const given = SELECTORS.filter((name) => query[name] !== undefined);
  const value = query[given[0]!];
  if (given.length !== 1 || typeof value !== 'string' || value === '')
    throw invalidParameter(given[0] ?? 'ruleDisplayName', `exactly one of ${SELECTORS.join(', ')}, given once`);
  if (given[0] === 'ruleId') return { id: value };
  return given[0] === 'ruleName' ? { name: value } : { displayName: value };
}
