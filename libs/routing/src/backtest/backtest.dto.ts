import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';

// For the description of the API; `parseReplay` and `parsePolicy` check what comes in.

export class PolicyBacktestRequestDto {
  @ApiProperty({ description: 'Arrival of the first message, ISO 8601', example: '2026-01-01T00:00:00Z' })
  from!: string;
  @ApiPropertyOptional({ description: 'Messages that arrived before; now when absent' }) to?: string;
  @ApiPropertyOptional({ default: 100, minimum: 1, maximum: 1000, description: 'Messages and events that are listed' })
  limit?: number;
  @ApiPropertyOptional({
    type: 'object',
    additionalProperties: true,
    description: 'What the policy is to become, as it would be put; the policy as it is when absent',
  })
  policy?: unknown;
}

class RoutedDto {
  @ApiProperty({ description: 'Of the stored message or event' }) messageId!: string;
  @ApiProperty({ description: 'dataMessage, or the type of the event' }) type!: string;
  @ApiProperty({
    type: 'array',
    items: { type: 'object', additionalProperties: true },
    description: 'One for each action: where to, and what; `error` when that cannot be made of the message',
    example: [{ type: 'fifoPublish', fifoName: 'alarms' }],
  })
  actions!: Array<Record<string, unknown>>;
}

export class PolicyBacktestDto {
  @ApiProperty() from!: string;
  @ApiProperty() to!: string;
  @ApiProperty({ description: 'Messages and stored events of the types that trigger the policy' }) messages!: number;
  @ApiProperty({ description: 'False when a bound was reached: nothing that arrived after `until` was looked at' })
  complete!: boolean;
  @ApiPropertyOptional({ description: 'Arrival of the last message or event that was looked at' }) until?: string;
  @ApiProperty({ description: 'Those that pass the filter' }) matched!: number;
  @ApiProperty({ type: [RoutedDto], description: 'The first of them' }) routed!: RoutedDto[];
}
