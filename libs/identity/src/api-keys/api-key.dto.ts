import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { ROLES, type Role } from '@orrery/core/auth';
import type { PageV0 } from '@orrery/core/http';
import { Type } from 'class-transformer';
import {
  ArrayMaxSize,
  IsArray,
  IsBoolean,
  IsIn,
  IsInt,
  IsOptional,
  IsString,
  Length,
  Matches,
  Max,
  MaxLength,
  Min,
  ValidateNested,
} from 'class-validator';

/** End of the year 9999, in epoch milliseconds: later instants have no common notation. */
const LAST_INSTANT = 253_402_300_799_999;
const DEFAULT_DEBUG_SECONDS = 900;
const MAX_DEBUG_SECONDS = 365 * 24 * 3600;
const MAX_FIFOS = 100;

const PRINTABLE = /^\P{Cc}*$/u;
const INSTANT = { message: 'epoch milliseconds' };
const LABEL = { message: 'a text of at most 256 characters' };
const FIFOS = { message: `at most ${MAX_FIFOS} names of FIFOs` };
const DEBUG_SECONDS = { message: `a whole number of seconds from 1 to ${MAX_DEBUG_SECONDS}` };

/** FIFOs that a key is restricted to (manual 4.3). */
export class ApiKeyScope {
  @ApiProperty({ type: [String], description: 'empty: no restriction' })
  @IsArray(FIFOS)
  @ArrayMaxSize(MAX_FIFOS, FIFOS)
  @Length(1, 256, { each: true, ...FIFOS })
  @Matches(PRINTABLE, { each: true, ...FIFOS })
  fifos!: string[];
}

/** Fields of a key that can be changed. Null removes `from`, `to` and `scope`. */
export class ApiKeyChanges {
  @ApiPropertyOptional({ type: String })
  @IsOptional()
  @IsString(LABEL)
  @MaxLength(256, LABEL)
  @Matches(PRINTABLE, LABEL)
  label?: string | null;

  @ApiPropertyOptional({ enum: ROLES, isArray: true })
  @IsOptional()
  @IsArray({ message: 'a list of roles' })
  @IsIn(ROLES, { each: true, message: `each of ${ROLES.join(', ')}` })
  roles?: Role[] | null;

  @ApiPropertyOptional({ type: Boolean })
  @IsOptional()
  @IsBoolean({ message: 'true or false' })
  active?: boolean | null;

  @ApiPropertyOptional({ type: Number, description: "epoch milliseconds; the parent's when absent" })
  @IsOptional()
  @IsInt(INSTANT)
  @Min(0, INSTANT)
  @Max(LAST_INSTANT, INSTANT)
  from?: number | null;

  @ApiPropertyOptional({ type: Number, description: "epoch milliseconds; the parent's when absent" })
  @IsOptional()
  @IsInt(INSTANT)
  @Min(0, INSTANT)
  @Max(LAST_INSTANT, INSTANT)
  to?: number | null;

  @ApiPropertyOptional({ type: ApiKeyScope })
  @IsOptional()
  @ValidateNested({ message: 'an object with fifos' })
  @Type(() => ApiKeyScope)
  scope?: ApiKeyScope | null;
}

export class ApiKeyCreation extends ApiKeyChanges {
  @ApiProperty({ description: 'id of the key that the new one inherits from' })
  @IsString({ message: 'the id of the parent key' })
  parentId!: string;
}

export class DebugMode {
  @ApiProperty()
  @IsBoolean({ message: 'true or false' })
  activated!: boolean;

  @ApiPropertyOptional({ type: Number, default: DEFAULT_DEBUG_SECONDS })
  @IsInt(DEBUG_SECONDS)
  @Min(1, DEBUG_SECONDS)
  @Max(MAX_DEBUG_SECONDS, DEBUG_SECONDS)
  durationSeconds = DEFAULT_DEBUG_SECONDS;
}

/** A key as it is read: roles and validity are those that its ancestors leave it. Dates are epoch milliseconds. */
export class ApiKeyView {
  @ApiProperty()
  id!: string;

  @ApiPropertyOptional({ description: 'absent for the master key' })
  parentId?: string;

  @ApiProperty()
  tenantId!: string;

  @ApiProperty()
  label!: string;

  @ApiProperty({ enum: ROLES, isArray: true })
  roles!: Role[];

  @ApiProperty()
  active!: boolean;

  @ApiProperty()
  masterKey!: boolean;

  @ApiProperty()
  scope!: ApiKeyScope;

  @ApiProperty()
  creationTs!: number;

  @ApiPropertyOptional()
  from?: number;

  @ApiPropertyOptional()
  to?: number;

  @ApiPropertyOptional({ description: 'while connections of the key are logged' })
  debugModeEndTs?: number;
}

export class CreatedApiKey extends ApiKeyView {
  @ApiProperty({ description: 'the secret: not readable again' })
  value!: string;
}

export class ApiKeyPage implements PageV0<ApiKeyView> {
  @ApiProperty()
  totalCount!: number;

  @ApiProperty()
  size!: number;

  @ApiProperty()
  page!: number;

  @ApiProperty({ type: [ApiKeyView] })
  data!: ApiKeyView[];
}
