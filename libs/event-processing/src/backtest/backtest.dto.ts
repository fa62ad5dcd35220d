import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';

// For the description of the API; `parseReplay` and `parseRule` check what comes in.

export class BacktestRequestDto {
  @ApiProperty({ description: 'Arrival of the first message, ISO 8601', example: '2026-01-01T00:00:00Z' })
  from!: string;
  @ApiPropertyOptional({ description: 'Messages that arrived before; now when absent' }) to?: string;
  @ApiPropertyOptional({ default: 100, minimum: 1, maximum: 1000, description: 'Events that are listed' })
  limit?: number;
  @ApiPropertyOptional({
    type: 'object',
    additionalProperties: true,
    description: 'What the rule is to become, as it would be put; the rule as it is when absent',
  })
  rule?: unknown;
}

class BacktestEventDto {
  @ApiProperty({ description: 'The message that it comes from' }) messageId!: string;
  @ApiProperty({
    type: 'object',
    additionalProperties: true,
    description: 'As it would have been routed at the arrival of the message',
  })
  event!: Record<string, unknown>;
}

class BacktestMatchDto {
  @ApiProperty() messageId!: string;
  @ApiProperty() streamId!: string;
  @ApiProperty() created!: string;
}

class BacktestFailureDto {
  @ApiProperty() ruleId!: string;
  @ApiProperty() messageId!: string;
  @ApiProperty() reason!: string;
}

export class BacktestDto {
  @ApiProperty() from!: string;
  @ApiProperty() to!: string;
  @ApiProperty({ description: 'Data messages that were evaluated, at most 100,000' }) messages!: number;
  @ApiProperty({ description: 'False when a bound was reached: nothing that arrived after `until` was evaluated' })
  complete!: boolean;
  @ApiPropertyOptional({ description: 'Arrival of the last message that was evaluated' }) until?: string;
  @ApiPropertyOptional({ description: 'Messages that a matching rule matched; of matching and firing rules' })
  matched?: number;
  @ApiPropertyOptional({ type: [BacktestMatchDto], description: 'The first of them' }) matches?: BacktestMatchDto[];
  @ApiProperty({ description: 'Events that would have been fired' }) fired!: number;
  @ApiProperty({ type: [BacktestEventDto], description: 'The first of them' }) events!: BacktestEventDto[];
  @ApiProperty({ description: 'Messages that a rule could not be applied to' }) failed!: number;
  @ApiProperty({ type: [BacktestFailureDto], description: 'The first of them' }) failures!: BacktestFailureDto[];
}
