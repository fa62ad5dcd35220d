import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsOptional, IsString, Matches, MaxLength } from 'class-validator';

const MAX_COMMENT = 1024;
const COMMENT = { message: `a text of at most ${MAX_COMMENT} characters` };

export class CaCertificateCreation {
  @ApiProperty({ description: 'PEM of the certificate that directly signs those of the clients, without its chain' })
  @IsString({ message: 'the certificate as PEM' })
  certificate!: string;

  @ApiPropertyOptional({ type: String })
  @IsOptional()
  @IsString(COMMENT)
  @MaxLength(MAX_COMMENT, COMMENT)
  @Matches(/^[\P{Cc}\t\r\n]*$/u, COMMENT)
  comment?: string | null;
}

export class CreatedCaCertificate {
  @ApiProperty()
  id!: string;
}

export class CaCertificateView {
  @ApiProperty()
  id!: string;

  @ApiProperty({ description: 'PEM' })
  certificate!: string;

  @ApiPropertyOptional()
  comment?: string;

  @ApiProperty({ format: 'date-time' })
  expires!: string;
}
