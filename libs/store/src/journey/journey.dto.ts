import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { JOURNEY_OUTCOMES, type JourneyStep } from '@orrery/core/journey';

class JourneyStepDto implements JourneyStep {
  [detail: string]: unknown;
  @ApiProperty({ description: 'Who tells it', example: 'routing' }) service!: string;
  @ApiProperty({
    description:
      'decoding, transformation, storing, indexing, rules, audit (what the audit log says of the message), or the type of an action',
    example: 'httpPush',
  })
  step!: string;
  @ApiProperty({
    enum: JOURNEY_OUTCOMES,
    description:
      'waiting: not over yet; retrying: failed, and is tried again; none: there was nothing to do; absent: it is not there, ' +
      'and why is not known; notKept: nobody remembers; unknown: the service does not answer. Further members tell more',
  })
  outcome!: JourneyStep['outcome'];
  @ApiPropertyOptional({ description: 'ISO 8601' }) time?: string;
  @ApiPropertyOptional({ description: 'Why, or what came of it', example: 'HTTP 200' }) reason?: string;
}

export class JourneyDto {
  @ApiProperty() messageId!: string;
  @ApiPropertyOptional() streamId?: string;
  @ApiPropertyOptional({ description: 'Arrival' }) created?: string;
  @ApiPropertyOptional({ description: 'By which the message came' }) connector?: string;
  @ApiPropertyOptional({ description: 'The device that sent it' }) source?: string;
  @ApiPropertyOptional({ description: 'Of a stored event: the data message that it comes from' }) cause?: string;
  @ApiProperty({ type: [JourneyStepDto] }) steps!: JourneyStepDto[];
}
