import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';

/** A value that the messages of a firing context have in common. */
export class CriterionDto {
  @ApiProperty({ example: 'metadata.source' }) keyPath!: string;
  @ApiProperty({ example: 'urn:lo:nsid:mqtt:myTest' }) value!: unknown;
}

export class FiringGuardDto {
  @ApiProperty({ format: 'uuid' }) id!: string;
  @ApiProperty() tenantId!: string;
  @ApiProperty({ format: 'uuid' }) firingRuleId!: string;
  @ApiProperty({ type: [CriterionDto] }) guardCriteria!: CriterionDto[];
  @ApiProperty({ type: 'object', additionalProperties: true, description: 'The match that fired' })
  matchingContext!: unknown;
  @ApiProperty({ format: 'date-time' }) created!: string;
  @ApiPropertyOptional({ format: 'date-time', description: 'Absent when the guard stays until it is removed' })
  expireAt?: string;
}

/** For the description of the API; `parseSelection` checks what comes in. */
export class GuardSelectionDto {
  @ApiProperty({ format: 'uuid' }) firingRuleId!: string;
  @ApiPropertyOptional({ type: [CriterionDto], description: 'Guards that hold all of these values' })
  selectionCriteria?: CriterionDto[];
}
