import { Body, Controller, HttpCode, Inject, Post } from '@nestjs/common';
import { ApiBody, ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { Key, Limited, Requires } from '@orrery/core/http';
import { type SearchAnswer, SearchDto } from './search.dto.js';
import { SearchService } from './search.service.js';
import { type StatsAnswer, StatsDto } from './stats.dto.js';
import { StatsService } from './stats.service.js';

const FILTERS = {
  queryString: 'tags=in=(spain, v2) and interfaces.status==ONLINE',
  geoBounds: { topLeft: { lat: 50.56789, lon: 1.10101 }, bottomRight: { lat: 12.34567, lon: 20.20202 } },
};

/** Manual 9. */
@ApiTags('Device management - Inventory explorer')
@Controller('api/v1/deviceMgt/explorer')
export class ExplorerController {
  constructor(
    @Inject(SearchService) private readonly searches: SearchService,
    @Inject(StatsService) private readonly statistics: StatsService,
  ) {}

  @Post('search')
  @HttpCode(200)
  @Requires('DEVICE_R')
  @Limited({ concurrent: 'httpConcurrentHeavy' })
  @ApiOperation({ summary: 'Find devices by text, filters and position' })
  @ApiBody({
    schema: {
      type: 'object',
      example: { query: 'sensor', filters: FILTERS, size: 20, sort: ['-created', 'id'], bookmark: [] },
    },
  })
  @ApiResponse({ status: 200, description: 'The devices, and the bookmark by which the next page is asked for' })
  search(@Key() key: ApiKeyIdentity, @Body() body: SearchDto): Promise<SearchAnswer> {
    return this.searches.search(key.tenantId, body);
  }

  @Post('stats')
  @HttpCode(200)
  @Requires('DEVICE_R')
  @Limited({ concurrent: 'httpConcurrentHeavy' })
  @ApiOperation({ summary: 'Count devices, by fields, components or position' })
  @ApiBody({
    schema: {
      type: 'object',
      example: {
        filters: FILTERS,
        groupBy: { location: { precision: 5, groupBy: { interfaces: { field: 'status' } } } },
        options: { includeTotalKeys: true, includeMissingDevicesCount: true, includeGeoBoundsInBuckets: true },
      },
    },
  })
  @ApiResponse({ status: 200, description: 'The counts' })
  stats(@Key() key: ApiKeyIdentity, @Body() body: StatsDto): Promise<StatsAnswer> {
    return this.statistics.count(key.tenantId, body);
  }
}
