import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsOptional } from 'class-validator';

export class CreateReindexingDto {
  @ApiPropertyOptional({ description: 'Arrival of the first message; the oldest that is searchable when absent.' })
  @IsOptional()
  from?: string;

  @ApiPropertyOptional({
    description: 'Messages that arrived from this time on are left as they are; now when absent.',
  })
  @IsOptional()
  to?: string;
}

export class ReindexingDto {
  @ApiProperty({ example: '5a0e0a3e-6f63-4a1e-8f51-0a54a1d3a0b7' })
  id!: string;

  @ApiProperty({ enum: ['RUNNING', 'DONE', 'CANCELLED'] })
  status!: 'RUNNING' | 'DONE' | 'CANCELLED';

  @ApiProperty({ example: '2026-01-01T00:00:00.000Z' })
  from!: string;

  @ApiProperty({ example: '2026-02-01T00:00:00.000Z' })
  to!: string;

  @ApiPropertyOptional({ description: 'All messages that arrived before this time are done.' })
  position?: string;

  @ApiProperty({ description: 'Stored messages that were read.' })
  read!: number;

  @ApiProperty({ description: 'Those that are in the index; the others do not fit the types of their model.' })
  indexed!: number;

  @ApiPropertyOptional({ description: 'Why it waits at the moment.' })
  error?: string;

  @ApiProperty()
  created!: string;

  @ApiProperty()
  updated!: string;
}

export class CountsDto {
  @ApiProperty({ description: 'Messages in the store.' })
  stored!: number;

  @ApiProperty({ description: 'Messages in the index.' })
  indexed!: number;
}
