import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { DEVICE_ID } from '@orrery/core/messages';
import { Type } from 'class-transformer';
import { IsArray, IsBoolean, IsObject, IsOptional, Matches, ValidateBy, ValidateNested } from 'class-validator';
import { parseDuration, UNKEPT } from '../rules/rule-document.js';

/** About a century: PostgreSQL's dates hold it. */
const MAX_DURATION_MS = 36_525 * 24 * 3600 * 1000;

const isText = (value: unknown, max: number): value is string =>
  typeof value === 'string' && value.trim() !== '' && value.length <= max && !UNKEPT.test(value);

const IsText = (max: number, each = false): PropertyDecorator =>
  ValidateBy(
    {
      name: 'isText',
      validator: {
        validate: (value) => isText(value, max),
        defaultMessage: () => `${each ? 'each ' : ''}a string of 1 to ${max} characters`,
      },
    },
    { each },
  );

const IsDuration = (): PropertyDecorator =>
  ValidateBy({
    name: 'isDuration',
    validator: {
      validate: (value) => {
        const ms = parseDuration(value);
        return ms !== undefined && ms >= 0 && ms <= MAX_DURATION_MS;
      },
      defaultMessage: () => 'an ISO 8601 duration of days, hours, minutes and seconds, such as P1D or PT12H',
    },
  });

const IsGroupPath = (): PropertyDecorator =>
  ValidateBy({
    name: 'isGroupPath',
    validator: {
      validate: (value) => isText(value, 4096) && /^(\/|(\/[^/]+)+)$/.test(value),
      defaultMessage: () => 'the path of a group, such as /europe/france',
    },
  });

export class GroupTargetDto {
  @ApiProperty({ example: '/europe/france' })
  @IsGroupPath()
  path!: string;

  @ApiPropertyOptional({ default: false, description: 'Whether the devices of the groups below are targeted too' })
  @IsOptional()
  @IsBoolean({ message: 'true or false' })
  includeSubPath?: boolean;
}

/** At least one of all. */
export class TargetsDto {
  @ApiPropertyOptional({ type: [String], example: ['urn:lo:nsid:mqtt:1234'], description: 'At most 100' })
  @IsOptional()
  @IsArray({ message: 'a list of device ids' })
  @Matches(DEVICE_ID, { each: true, message: 'each urn:lo:nsid:{ns}:{id}' })
  deviceIds?: string[] | null;

  @ApiPropertyOptional({ type: [GroupTargetDto], description: 'At most 100' })
  @IsOptional()
  @IsArray({ message: 'a list of groups' })
  @IsObject({ each: true, message: 'each an object with a path' })
  @ValidateNested({ each: true })
  @Type(() => GroupTargetDto)
  groupPaths?: GroupTargetDto[] | null;
}

export class SilentPolicyDto {
  @ApiProperty({
    example: 'P1D',
    description: 'ISO 8601 duration without activity after which a device is silent; less than 10 minutes count as 10',
  })
  @IsDuration()
  duration!: string;

  @ApiPropertyOptional({
    example: 'PT12H',
    description: 'The event is sent again at this interval while the device is silent; once only without it',
  })
  @IsOptional()
  @IsDuration()
  repeatInterval?: string | null;
}

export class ActivityRuleDto {
  @ApiProperty({ description: 'Unique among the activity rules', example: 'devices in Lyon' })
  @IsText(256)
  name!: string;

  @ApiProperty()
  @IsBoolean({ message: 'true or false (required)' })
  enabled!: boolean;

  @ApiProperty({ type: SilentPolicyDto })
  @IsObject({ message: 'an object with a duration (required)' })
  @ValidateNested()
  @Type(() => SilentPolicyDto)
  silentPolicy!: SilentPolicyDto;

  @ApiProperty({ type: TargetsDto })
  @IsObject({ message: 'an object with deviceIds or groupPaths (required)' })
  @ValidateNested()
  @Type(() => TargetsDto)
  targets!: TargetsDto;

  @ApiPropertyOptional({ type: [String], description: 'Recorded in all events of the rule; at most 20' })
  @IsOptional()
  @IsArray({ message: 'a list of strings' })
  @IsText(256, true)
  tags?: string[] | null;
}

export class ActivityRuleView extends ActivityRuleDto {
  @ApiProperty({ format: 'uuid' }) id!: string;
}
