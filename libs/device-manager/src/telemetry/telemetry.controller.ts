import { Controller, Get, Inject, Param } from '@nestjs/common';
import { ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { Key, Requires } from '@orrery/core/http';
import { TelemetryService, type TelemetryView } from './telemetry.service.js';

@ApiTags('Device management - Device API')
@Controller('api/v1/deviceMgt/devices/:deviceId/telemetry')
export class TelemetryController {
  constructor(@Inject(TelemetryService) private readonly telemetry: TelemetryService) {}

  @Get()
  @Requires('DEVICE_R')
  @ApiOperation({
    summary: 'Read the current state of a device that sends telemetry (v1/device/DEVICE_ID/telemetry)',
    description:
      'Each telemetry has the value that it was last sent with; a message with `override` true forgets all others.',
  })
  @ApiResponse({ status: 200, description: 'status, timestamp and telemetries' })
  get(@Key() key: ApiKeyIdentity, @Param('deviceId') deviceId: string): Promise<TelemetryView> {
    return this.telemetry.get(key.tenantId, deviceId);
  }
}
