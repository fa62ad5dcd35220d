import { ApiProperty } from '@nestjs/swagger';

export class WaitingSmsDto {
  @ApiProperty({ format: 'uuid' }) id!: string;
  @ApiProperty({ format: 'uuid' }) actionPolicyId!: string;
  @ApiProperty({ example: '+33601234567' }) destinationPhoneNumber!: string;
  @ApiProperty({ example: 'warm new state hot at 2026-11-22T10:00:00.000Z' }) content!: string;
  @ApiProperty({ format: 'date-time' }) created!: string;
}
