import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsInt, IsOptional, IsString, Matches, Max, Min } from 'class-validator';

export const FIFO_NAME = /^[\w.-]{1,128}$/;
export const FIFO_NAME_EXPECTED = '1 to 128 characters of A-Z a-z 0-9 _ - .';

/** Seconds: the default and the most (manual 16.2.1.3). */
export const MAX_MESSAGE_TTL = 604_800;
export const DEFAULT_MAX_LENGTH_BYTES = 1_048_576;

export class UpdateFifoDto {
  @ApiPropertyOptional({
    default: DEFAULT_MAX_LENGTH_BYTES,
    description: 'Most bytes of stored messages, each with 100 bytes of overhead',
  })
  @IsOptional()
  @IsInt({ message: 'a whole number of bytes from 1' })
  @Min(1, { message: 'a whole number of bytes from 1' })
  @Max(Number.MAX_SAFE_INTEGER, { message: `at most ${Number.MAX_SAFE_INTEGER} bytes` })
  maxLengthBytes?: number;

  @ApiPropertyOptional({
    default: MAX_MESSAGE_TTL,
    maximum: MAX_MESSAGE_TTL,
    description: 'Seconds that a message waits to be consumed; 0 keeps no message without a consumer',
  })
  @IsOptional()
  @IsInt({ message: `a whole number of seconds from 0 to ${MAX_MESSAGE_TTL}` })
  @Min(0, { message: `a whole number of seconds from 0 to ${MAX_MESSAGE_TTL}` })
  @Max(MAX_MESSAGE_TTL, { message: `a whole number of seconds from 0 to ${MAX_MESSAGE_TTL}` })
  messageTtl?: number;
}

export class CreateFifoDto extends UpdateFifoDto {
  @ApiProperty({ example: 'MyFIFOName', description: FIFO_NAME_EXPECTED })
  @IsString({ message: FIFO_NAME_EXPECTED })
  @Matches(FIFO_NAME, { message: FIFO_NAME_EXPECTED })
  name!: string;
}

export class FifoDto {
  @ApiProperty() name!: string;
  @ApiProperty() maxLengthBytes!: number;
  @ApiProperty({ description: 'Seconds' }) messageTtl!: number;
  @ApiProperty({ description: 'Messages stored' }) messages!: number;
  @ApiProperty({ description: 'Bytes stored, with the overhead of each message' }) messageBytes!: number;
  @ApiProperty({ description: 'Active subscriptions' }) consumers!: number;
}

export class FifoPageDto {
  @ApiProperty() totalCount!: number;
  @ApiProperty() size!: number;
  @ApiProperty() page!: number;
  @ApiProperty({ type: [FifoDto] }) data!: FifoDto[];
}
