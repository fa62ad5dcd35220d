import { Controller, Get, Inject, Param } from '@nestjs/common';
import { ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { Key, Limited, Requires } from '@orrery/core/http';
import { JourneyDto } from './journey.dto.js';
import { Journeys } from './journeys.js';

@ApiTags('Data store')
@Controller('api/v1/data/messages')
export class JourneysController {
  constructor(@Inject(Journeys) private readonly journeys: Journeys) {}

  // It tells what the audit log tells.
  @Get(':messageId/journey')
  @Limited({ concurrent: 'httpConcurrentHeavy' })
  @Requires('DATA_R', 'LOGS_R')
  @ApiOperation({ summary: 'What happened to a message: decoding, transformation, index, rules, actions' })
  @ApiResponse({ status: 200, type: JourneyDto, description: 'What is kept of its way.' })
  @ApiResponse({ status: 404, description: 'There is no such message.' })
  journey(@Key() { tenantId }: ApiKeyIdentity, @Param('messageId') id: string): Promise<JourneyDto> {
    return this.journeys.of(tenantId, id);
  }
}
