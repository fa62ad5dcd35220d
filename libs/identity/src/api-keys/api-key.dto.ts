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
  IsObject,
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
const MAX_CA_CERTIFICATES = 100;

const PRINTABLE = /^\P{Cc}*$/u;
const INSTANT = { message: 'epoch milliseconds' };
const LABEL = { message: 'a text of at most 256 characters' };
const FIFOS = { message: `at most ${MAX_FIFOS} names of FIFOs` };
const CA_CERTIFICATES = { message: `at most ${MAX_CA_CERTIFICATES} ids of CA certificates` };
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

/** Client certificates that the MQTT clients of a key present (manual 6.3.4). */
export class ClientCertificates {
  @ApiProperty({ type: [String], description: 'ids of the CA certificates that sign them' })
  @IsArray(CA_CERTIFICATES)
  @ArrayMaxSize(MAX_CA_CERTIFICATES, CA_CERTIFICATES)
  @Length(1, 255, { each: true, ...CA_CERTIFICATES })
  @Matches(PRINTABLE, { each: true, ...CA_CERTIFICATES })
  caCertIds!: string[];

  @ApiPropertyOptional({ type: Boolean, default: false, description: 'false: one that is presented is still checked' })
  @IsOptional()
  @IsBoolean({ message: 'true or false' })
  required?: boolean | null;
}

/** Fields of a key that can be changed. Null removes `from`, `to`, `scope` and `clientCert`. */
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
  @IsObject({ message: 'an object with fifos' })
  @ValidateNested({ message: 'an object with fifos' })
  @Type(() => ApiKeyScope)
  scope?: ApiKeyScope | null;

  @ApiPropertyOptional({ type: ClientCertificates })
  @IsOptional()
  @IsObject({ message: 'an object with caCertIds and required' })
  @ValidateNested({ message: 'an object with caCertIds and required' })
  @Type(() => ClientCertificates)
  clientCert?: ClientCertificates | null;
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

  @ApiPropertyOptional({ description: 'absent when the key has nothing to do with client certificates' })
  clientCert?: ClientCertificates;

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
