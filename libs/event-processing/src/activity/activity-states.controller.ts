import { Body, Controller, Get, HttpCode, Inject, Put, Query } from '@nestjs/common';
import { ApiOkResponse, ApiQuery, ApiTags } from '@nestjs/swagger';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { invalidParameters, Key, pagingV0, Requires } from '@orrery/core/http';
import { DEVICE_ID, type FieldError } from '@orrery/core/messages';
import { UUID } from '../rules/rule-document.js';
import { ActivityStateDto, MuteDto } from './activity-state.dto.js';
import { ActivityStatesService, type StateSelection } from './activity-states.service.js';

@ApiTags('Event processing - Activity')
@Controller('/api/v0/eventprocessing/activity/states')
export class ActivityStatesController {
  constructor(@Inject(ActivityStatesService) private readonly states: ActivityStatesService) {}

  @Get()
  @Requires('DATA_PROCESSING_R')
  @ApiQuery({ name: 'deviceId', required: false, description: 'At least one of deviceId and activityRuleId is needed' })
  @ApiQuery({ name: 'activityRuleId', required: false })
  @ApiQuery({ name: 'limit', required: false, type: Number, description: 'At most 1000' })
  @ApiQuery({ name: 'bookmarkDeviceId', required: false, description: 'Last device of the page before' })
  @ApiOkResponse({ type: [ActivityStateDto], description: 'By device' })
  list(@Key() key: ApiKeyIdentity, @Query() query: Record<string, unknown>): Promise<ActivityStateDto[]> {
    const { deviceId, activityRuleId, bookmarkDeviceId, limit } = query;
    const errors: FieldError[] = [];
    const checked = (field: string, value: unknown, pattern: RegExp, expected: string): string | undefined => {
      if (value === undefined || (typeof value === 'string' && pattern.test(value))) return value;
      errors.push({ field, expected });
      return undefined;
    };
    const selection: StateSelection = {
      deviceId: checked('deviceId', deviceId, DEVICE_ID, 'urn:lo:nsid:{ns}:{id}'),
      ruleId: checked('activityRuleId', activityRuleId, UUID, 'the id of an activity rule'),
    };
    const after = checked('bookmarkDeviceId', bookmarkDeviceId, DEVICE_ID, 'urn:lo:nsid:{ns}:{id}');
    if (deviceId === undefined && activityRuleId === undefined) errors.push(...NOTHING_SELECTED);
    if (errors.length > 0) throw invalidParameters(errors);
    return this.states.list(key.tenantId, selection, pagingV0({ size: limit }).size, after);
  }

  @Put('mute')
  @HttpCode(200)
  @Requires('DATA_PROCESSING_W')
  @ApiOkResponse({ type: Number, description: 'How many states there are' })
  mute(@Key() key: ApiKeyIdentity, @Body() body: MuteDto): Promise<number> {
    const { nextAlarmOrder, deviceId, activityRuleId } = body;
    if (!deviceId && !activityRuleId) throw invalidParameters(NOTHING_SELECTED);
    const selection = { deviceId: deviceId ?? undefined, ruleId: activityRuleId ?? undefined };
    return this.states.setNextAlarm(key.tenantId, nextAlarmOrder, selection);
  }
}

const NOTHING_SELECTED: readonly FieldError[] = ['deviceId', 'activityRuleId'].map((field) => ({
  field,
  expected: 'at least one of deviceId and activityRuleId',
}));
