import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { DEVICE_ID } from '@orrery/core/messages';
import { IsIn, IsOptional, IsUUID, Matches } from 'class-validator';
import { ActivityRuleView } from './activity-rule.dto.js';

const STATES = ['UNKNOWN', 'ACTIVE', 'SILENT'] as const;
const ORDERS = ['MUTE', 'RESET'] as const;

/** Manual 17.2.7.3. */
export class ActivityStateDto {
  @ApiProperty({ type: ActivityRuleView }) activityRule!: ActivityRuleView;
  @ApiProperty({ example: 'urn:lo:nsid:mqtt:1234' }) deviceId!: string;
  @ApiProperty({ enum: STATES }) state!: (typeof STATES)[number];
  @ApiPropertyOptional({ format: 'date-time', description: 'Exact to some seconds; absent before the first activity' })
  lastActivity?: string;
  @ApiPropertyOptional({ format: 'date-time', description: 'Absent when none will come: the alarm is muted, say' })
  nextAlarm?: string;
  @ApiProperty({ description: 'Reminders that have been sent for the current state' }) numberOfAlarmReminders!: number;
}

/** At least one of the two ids. */
export class MuteDto {
  @ApiProperty({
    enum: ORDERS,
    description: 'MUTE: no alarm until the device has been active. RESET: the delay until the next alarm begins now',
  })
  @IsIn(ORDERS, { message: `one of ${ORDERS.join(', ')} (required)` })
  nextAlarmOrder!: (typeof ORDERS)[number];

  @ApiPropertyOptional({ format: 'uuid' })
  @IsOptional()
  @IsUUID(undefined, { message: 'the id of an activity rule' })
  activityRuleId?: string | null;

  @ApiPropertyOptional()
  @IsOptional()
  @Matches(DEVICE_ID, { message: 'urn:lo:nsid:{ns}:{id}' })
  deviceId?: string | null;
}
