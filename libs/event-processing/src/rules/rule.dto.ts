import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import type { RuleKind } from './rule.entity.js';

// For the description of the API; `parseRule` checks what comes in.

type Logic = Record<string, unknown>;

export const FIRING_TYPES = ['ONCE', 'SLEEP', 'ALWAYS'] as const;
export type FiringType = (typeof FIRING_TYPES)[number];

const PREDICATE = { '>': [{ var: 'value.temp' }, 99] };

export class MatchingRuleDto {
  @ApiProperty({ readOnly: true, format: 'uuid' }) id!: string;
  @ApiProperty({ description: 'Unique among the matching rules, at most 256 characters' }) name!: string;
  @ApiPropertyOptional({ default: false }) enabled!: boolean;
  @ApiProperty({
    type: 'object',
    additionalProperties: true,
    description: 'JsonLogic that is evaluated as a boolean on each data message',
    example: PREDICATE,
  })
  dataPredicate!: Logic;
}

export class FiringRuleDto {
  @ApiProperty({ readOnly: true, format: 'uuid' }) id!: string;
  @ApiProperty({ description: 'Unique among the firing rules, at most 256 characters' }) name!: string;
  @ApiPropertyOptional({ default: false }) enabled!: boolean;
  @ApiPropertyOptional({ type: [String], description: 'Ids of the matching rules; one that matches is enough' })
  matchingRuleIds!: string[];
  @ApiPropertyOptional({
    type: [String],
    description: 'Paths in the data message: messages with the same values there are of one firing context',
    example: ['metadata.source'],
  })
  aggregationKeys!: string[];
  @ApiProperty({ enum: FIRING_TYPES }) firingType!: FiringType;
  @ApiPropertyOptional({
    description: 'ISO 8601 duration in days, hours, minutes and seconds, mandatory for SLEEP',
    example: 'PT2M',
  })
  sleepDuration?: string;
}

export class StateProcessingRuleDto {
  @ApiProperty({ readOnly: true, format: 'uuid' }) id!: string;
  @ApiPropertyOptional({ description: 'Unique among the state processing rules, at most 256 characters' })
  name?: string;
  @ApiProperty() enabled!: boolean;
  @ApiPropertyOptional({
    type: 'object',
    additionalProperties: true,
    description: 'JsonLogic: the messages that the state function is applied to; all when absent',
  })
  filterPredicate?: Logic;
  @ApiProperty({ description: 'Path in the data message to the state key', example: 'streamId' }) stateKeyPath!: string;
  @ApiProperty({
    type: 'object',
    additionalProperties: true,
    description: 'JsonLogic that computes the state: a string, a number or a boolean',
    example: { if: [PREDICATE, 'hot', 'normal'] },
  })
  stateFunction!: Logic;
}

/** A rule of each kind, as the API has it. */
export interface RuleDtos {
  matching: MatchingRuleDto;
  firing: FiringRuleDto;
  state: StateProcessingRuleDto;
}

export type RuleDto = RuleDtos[RuleKind];

export class PredicateTestDto {
  @ApiProperty({ type: 'object', additionalProperties: true, description: 'A data message' }) data!: unknown;
  @ApiProperty({ type: 'object', additionalProperties: true, example: PREDICATE }) dataPredicate!: unknown;
}

export class PredicateTestResultDto {
  @ApiProperty() dataPredicateValid!: boolean;
  @ApiProperty() dataValid!: boolean;
  @ApiPropertyOptional({ description: 'Absent when predicate or data are not valid' }) dataPredicateResult?: boolean;
}

export class StateFunctionTestDto {
  @ApiPropertyOptional({ description: 'A string, a number or a boolean; anything else is no state' })
  currentState?: unknown;
  @ApiProperty({ type: 'object', additionalProperties: true, description: 'A data message' }) data!: unknown;
  @ApiProperty({ type: 'object', additionalProperties: true, example: { if: [PREDICATE, 'hot', 'normal'] } })
  stateProcessingFunction!: unknown;
}

export class StateFunctionTestResultDto {
  @ApiProperty() stateFunctionValid!: boolean;
  @ApiProperty() dataValid!: boolean;
  @ApiPropertyOptional({ description: 'Absent when function or data are not valid' }) stateFunctionResult?: unknown;
}
