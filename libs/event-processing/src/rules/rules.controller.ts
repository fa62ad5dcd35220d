import { Body, Controller, Delete, Get, HttpCode, Inject, Param, Post, Put, Query } from '@nestjs/common';
import {
  ApiBody,
  ApiCreatedResponse,
  ApiNoContentResponse,
  ApiOkResponse,
  ApiOperation,
  ApiQuery,
  ApiTags,
} from '@nestjs/swagger';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { invalidParameter, Key, Limited, Requires, requireSection } from '@orrery/core/http';
import { BacktestDto, BacktestRequestDto } from '../backtest/backtest.dto.js';
import { Backtests } from '../backtest/backtests.js';
import { SECTION } from '../section.js';
import { UNKEPT } from './rule-document.js';
import { RuleTests } from './rule-tests.js';
import {
  FiringRuleDto,
  MatchingRuleDto,
  PredicateTestDto,
  PredicateTestResultDto,
  StateFunctionTestDto,
  StateFunctionTestResultDto,
  StateProcessingRuleDto,
} from './rule.dto.js';
import type { RulesService } from './rules.service.js';

export const MATCHING_RULES = Symbol('matching rules');
export const FIRING_RULES = Symbol('firing rules');
export const STATE_RULES = Symbol('state processing rules');

const BACKTEST = 'What the rule would have fired in a time that is stored, without any effect';

const checkedName = (name: unknown): string | undefined => {
  if (name === undefined || (typeof name === 'string' && !UNKEPT.test(name))) return name;
  throw invalidParameter('name', 'the name of a rule');
};

@ApiTags('Event processing - Matching')
@Controller('/api/v0/eventprocessing/matching-rule')
export class MatchingRulesController {
  constructor(
    @Inject(MATCHING_RULES) private readonly rules: RulesService<'matching'>,
    @Inject(RuleTests) private readonly tests: RuleTests,
    @Inject(Backtests) private readonly backtests: Backtests,
  ) {}

  @Get()
  @Requires('DATA_PROCESSING_R')
  @ApiQuery({ name: 'name', required: false })
  @ApiOkResponse({ type: [MatchingRuleDto] })
  list(@Key() key: ApiKeyIdentity, @Query('name') name: unknown): Promise<MatchingRuleDto[]> {
    return this.rules.list(key.tenantId, checkedName(name));
  }

  @Post()
  @HttpCode(201)
  @Requires('DATA_PROCESSING_W')
  @ApiBody({ type: MatchingRuleDto })
  @ApiCreatedResponse({ type: MatchingRuleDto })
  create(@Key() key: ApiKeyIdentity, @Body() body: unknown): Promise<MatchingRuleDto> {
    requireSection(key, SECTION);
    return this.rules.create(key.tenantId, key.limits, body);
  }

  @Post('test')
  @HttpCode(200)
  @Requires('DATA_PROCESSING_R')
  @ApiBody({ type: PredicateTestDto })
  @ApiOkResponse({ type: PredicateTestResultDto })
  test(@Key() key: ApiKeyIdentity, @Body() body: unknown): Promise<PredicateTestResultDto> {
    return this.tests.predicate(key.tenantId, body);
  }

  @Get(':matchingRuleId')
  @Requires('DATA_PROCESSING_R')
  @ApiOkResponse({ type: MatchingRuleDto })
  get(@Key() key: ApiKeyIdentity, @Param('matchingRuleId') id: string): Promise<MatchingRuleDto> {
    return this.rules.get(key.tenantId, id);
  }

  @Post(':matchingRuleId/backtest')
  @HttpCode(200)
  @Limited({ concurrent: 'httpConcurrentHeavy' })
  @Requires('DATA_PROCESSING_R', 'DATA_R')
  @ApiOperation({ summary: BACKTEST })
  @ApiBody({ type: BacktestRequestDto })
  @ApiOkResponse({ type: BacktestDto })
  backtest(
    @Key() key: ApiKeyIdentity,
    @Param('matchingRuleId') id: string,
    @Body() body: unknown,
  ): Promise<BacktestDto> {
    requireSection(key, SECTION);
    return this.backtests.run(key, 'matching', id, body);
  }

  @Put(':matchingRuleId')
  @HttpCode(204)
  @Requires('DATA_PROCESSING_W')
  @ApiBody({ type: MatchingRuleDto })
  @ApiNoContentResponse()
  update(@Key() key: ApiKeyIdentity, @Param('matchingRuleId') id: string, @Body() body: unknown): Promise<void> {
    requireSection(key, SECTION);
    return this.rules.update(key.tenantId, id, body);
  }

  @Delete(':matchingRuleId')
  @HttpCode(204)
  @Requires('DATA_PROCESSING_W')
  delete(@Key() key: ApiKeyIdentity, @Param('matchingRuleId') id: string): Promise<void> {
    return this.rules.delete(key.tenantId, id);
  }
}

@ApiTags('Event processing - Firing')
@Controller('/api/v0/eventprocessing/firing-rule')
export class FiringRulesController {
  constructor(
    @Inject(FIRING_RULES) private readonly rules: RulesService<'firing'>,
    @Inject(Backtests) private readonly backtests: Backtests,
  ) {}

  @Get()
  @Requires('DATA_PROCESSING_R')
  @ApiQuery({ name: 'name', required: false })
  @ApiOkResponse({ type: [FiringRuleDto] })
  list(@Key() key: ApiKeyIdentity, @Query('name') name: unknown): Promise<FiringRuleDto[]> {
    return this.rules.list(key.tenantId, checkedName(name));
  }

  @Post()
  @HttpCode(201)
  @Requires('DATA_PROCESSING_W')
  @ApiBody({ type: FiringRuleDto })
  @ApiCreatedResponse({ type: FiringRuleDto })
  create(@Key() key: ApiKeyIdentity, @Body() body: unknown): Promise<FiringRuleDto> {
    requireSection(key, SECTION);
    return this.rules.create(key.tenantId, key.limits, body);
  }

  @Get(':firingRuleId')
  @Requires('DATA_PROCESSING_R')
  @ApiOkResponse({ type: FiringRuleDto })
  get(@Key() key: ApiKeyIdentity, @Param('firingRuleId') id: string): Promise<FiringRuleDto> {
    return this.rules.get(key.tenantId, id);
  }

  @Post(':firingRuleId/backtest')
  @HttpCode(200)
  @Limited({ concurrent: 'httpConcurrentHeavy' })
  @Requires('DATA_PROCESSING_R', 'DATA_R')
  @ApiOperation({ summary: BACKTEST })
  @ApiBody({ type: BacktestRequestDto })
  @ApiOkResponse({ type: BacktestDto })
  backtest(@Key() key: ApiKeyIdentity, @Param('firingRuleId') id: string, @Body() body: unknown): Promise<BacktestDto> {
    requireSection(key, SECTION);
    return this.backtests.run(key, 'firing', id, body);
  }

  @Put(':firingRuleId')
  @HttpCode(204)
  @Requires('DATA_PROCESSING_W')
  @ApiBody({ type: FiringRuleDto })
  @ApiNoContentResponse({ description: 'A change of how the rule fires removes its guards' })
  update(@Key() key: ApiKeyIdentity, @Param('firingRuleId') id: string, @Body() body: unknown): Promise<void> {
    requireSection(key, SECTION);
    return this.rules.update(key.tenantId, id, body);
  }

  @Delete(':firingRuleId')
  @HttpCode(204)
  @Requires('DATA_PROCESSING_W')
  delete(@Key() key: ApiKeyIdentity, @Param('firingRuleId') id: string): Promise<void> {
    return this.rules.delete(key.tenantId, id);
  }
}

@ApiTags('Event processing - State processing')
@Controller('/api/v0/eventprocessing/stateprocessing-rule')
export class StateProcessingRulesController {
  constructor(
    @Inject(STATE_RULES) private readonly rules: RulesService<'state'>,
    @Inject(RuleTests) private readonly tests: RuleTests,
    @Inject(Backtests) private readonly backtests: Backtests,
  ) {}

  @Get()
  @Requires('DATA_PROCESSING_R')
  @ApiQuery({ name: 'name', required: false })
  @ApiOkResponse({ type: [StateProcessingRuleDto] })
  list(@Key() key: ApiKeyIdentity, @Query('name') name: unknown): Promise<StateProcessingRuleDto[]> {
    return this.rules.list(key.tenantId, checkedName(name));
  }

  @Post()
  @HttpCode(201)
  @Requires('DATA_PROCESSING_W')
  @ApiBody({ type: StateProcessingRuleDto })
  @ApiCreatedResponse({ type: StateProcessingRuleDto })
  create(@Key() key: ApiKeyIdentity, @Body() body: unknown): Promise<StateProcessingRuleDto> {
    requireSection(key, SECTION);
    return this.rules.create(key.tenantId, key.limits, body);
  }

  @Post('test')
  @HttpCode(200)
  @Requires('DATA_PROCESSING_R')
  @ApiBody({ type: StateFunctionTestDto })
  @ApiOkResponse({ type: StateFunctionTestResultDto })
  test(@Key() key: ApiKeyIdentity, @Body() body: unknown): Promise<StateFunctionTestResultDto> {
    return this.tests.stateFunction(key.tenantId, body);
  }

  @Get(':stateProcessingRuleId')
  @Requires('DATA_PROCESSING_R')
  @ApiOkResponse({ type: StateProcessingRuleDto })
  get(@Key() key: ApiKeyIdentity, @Param('stateProcessingRuleId') id: string): Promise<StateProcessingRuleDto> {
    return this.rules.get(key.tenantId, id);
  }

  @Post(':stateProcessingRuleId/backtest')
  @HttpCode(200)
  @Limited({ concurrent: 'httpConcurrentHeavy' })
  @Requires('DATA_PROCESSING_R', 'DATA_R')
  @ApiOperation({ summary: BACKTEST })
  @ApiBody({ type: BacktestRequestDto })
  @ApiOkResponse({ type: BacktestDto })
  backtest(
    @Key() key: ApiKeyIdentity,
    @Param('stateProcessingRuleId') id: string,
    @Body() body: unknown,
  ): Promise<BacktestDto> {
    requireSection(key, SECTION);
    return this.backtests.run(key, 'state', id, body);
  }

  @Put(':stateProcessingRuleId')
  @HttpCode(204)
  @Requires('DATA_PROCESSING_W')
  @ApiBody({ type: StateProcessingRuleDto })
  @ApiNoContentResponse()
  update(@Key() key: ApiKeyIdentity, @Param('stateProcessingRuleId') id: string, @Body() body: unknown): Promise<void> {
    requireSection(key, SECTION);
    return this.rules.update(key.tenantId, id, body);
  }

  @Delete(':stateProcessingRuleId')
  @HttpCode(204)
  @Requires('DATA_PROCESSING_W')
  delete(@Key() key: ApiKeyIdentity, @Param('stateProcessingRuleId') id: string): Promise<void> {
    return this.rules.delete(key.tenantId, id);
  }
}
