import { Controller, Get, Inject, Param, Query } from '@nestjs/common';
import { ApiOperation, ApiProperty, ApiQuery, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { invalidParameter, Key, Limited, Requires } from '@orrery/core/http';
import type { DeviceStream } from '@orrery/search/contract';
import { DeviceStreamsService } from './device-streams.service.js';

const DEFAULT_LIMIT = 10;
const MAX_LIMIT = 100;

class DeviceStreamDto implements DeviceStream {
  @ApiProperty({ example: 'urn:lo:nsid:sensor:1234!measures' }) streamId!: string;
  @ApiProperty({ description: 'Messages of the device in the stream, as far as they are indexed', example: 42 })
  count!: number;
  @ApiProperty({ description: 'Arrival of the last one', example: '2018-10-30T17:26:53.012Z' }) lastUpdate!: string;
}

/** A device sends to its default stream, or to one that its message names (manual 13.2.1). */
@ApiTags('Device management - Inventory')
@Controller('api/v1/deviceMgt/devices/:deviceId/data/streams')
export class DeviceStreamsController {
  constructor(@Inject(DeviceStreamsService) private readonly streams: DeviceStreamsService) {}

  @Get()
  @Limited({ concurrent: 'httpConcurrentHeavy' })
  @Requires('DATA_R')
  @ApiOperation({ summary: 'List the streams that a device sends to, the latest first' })
  @ApiQuery({ name: 'limit', required: false, type: Number, description: '10 unless told otherwise, at most 100' })
  @ApiResponse({ status: 200, type: [DeviceStreamDto], description: 'The streams' })
  list(
    @Key() key: ApiKeyIdentity,
    @Param('deviceId') deviceId: string,
    @Query('limit') limit?: unknown,
  ): Promise<DeviceStream[]> {
    return this.streams.list(key, deviceId, limitOf(limit));
  }
}

/** A greater one is applied as the greatest, as with streams. */
function limitOf(text: unknown): number {
  if (text === undefined) return DEFAULT_LIMIT;
  if (typeof text !== 'string' || !/^\d+$/.test(text) || Number(text) < 1)
    throw invalidParameter('limit', 'a whole number from 1');
  return Math.min(Number(text), MAX_LIMIT);
}
