import { Body, Controller, HttpCode, Inject, Post, Query, Res } from '@nestjs/common';
import { ApiBody, ApiOperation, ApiQuery, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { invalidParameter, Key, Limited, Requires } from '@orrery/core/http';
import type { FastifyReply } from 'fastify';
import { ComputeTime } from './compute-time.js';
import { SearchesService } from './searches.service.js';

const SEARCH_SCHEMA = {
  type: 'object',
  example: {
    size: 0,
    query: { term: { streamId: 'myDeviceTemperature' } },
    aggs: { stats_temperature: { stats: { field: '@temperature_v0.value.temp' } } },
  },
};
const STATS = { stats_temperature: { count: 2, min: 24.1, max: 25.9, avg: 25, sum: 50 } };
const HITS_EXAMPLE = [
  {
    id: '019aab3f6f1f00000a1b2c3d',
    streamId: 'myDeviceTemperature',
    timestamp: '2016-05-09T13:06:03.903Z',
    model: 'temperature_v0',
    value: { temp: 25.9 },
    created: '2016-05-09T13:06:03.907Z',
    tags: [],
    metadata: { connector: 'http' },
  },
];
const QUOTA = {
  status: 429,
  description: 'The compute time of searches is used up, or too many run at once. Empty body.',
};

/** Searches in Elasticsearch's query language (manual 13.4). */
@ApiTags('Data search')
@Controller('api')
export class SearchesController {
  constructor(
    @Inject(SearchesService) private readonly searches: SearchesService,
    @Inject(ComputeTime) private readonly computeTime: ComputeTime,
  ) {}

  @Post('v1/data/search')
  @Limited({ concurrent: 'httpConcurrentHeavy' })
  @HttpCode(200)
  @Requires('DATA_R')
  @ApiOperation({ summary: 'Search data messages' })
  @ApiQuery({ name: 'trackTotalHits', required: false, type: Boolean, description: 'Count beyond 10,000' })
  @ApiBody({ schema: SEARCH_SCHEMA })
  @ApiResponse({
    status: 200,
    description: 'What was found.',
    schema: { example: { took: 1, hits: { total: { value: 2, relation: 'eq' } }, aggregations: STATS } },
  })
  @ApiResponse(QUOTA)
  async search(
    @Key() key: ApiKeyIdentity,
    @Body() body: unknown,
    @Res() reply: FastifyReply,
    @Query('trackTotalHits') trackTotalHits?: string,
  ): Promise<void> {
    if (trackTotalHits !== undefined && trackTotalHits !== 'true' && trackTotalHits !== 'false')
      throw invalidParameter('trackTotalHits', 'true or false');
    await this.answer(key, reply, () => this.searches.search(key, 'v1', body, trackTotalHits === 'true'));
  }

  @Post('v0/data/search')
  @Limited({ concurrent: 'httpConcurrentHeavy' })
  @HttpCode(200)
  @Requires('DATA_R')
  @ApiOperation({ summary: 'Search data messages; the total is a number' })
  @ApiBody({ schema: SEARCH_SCHEMA })
  @ApiResponse({
    status: 200,
    description: 'What was found.',
    schema: { example: { took: 1, hits: { total: 2 }, aggregations: STATS } },
  })
  @ApiResponse(QUOTA)
  async searchV0(@Key() key: ApiKeyIdentity, @Body() body: unknown, @Res() reply: FastifyReply): Promise<void> {
    await this.answer(key, reply, () => this.searches.search(key, 'v0', body));
  }

  @Post('v1/data/search/hits')
  @Limited({ concurrent: 'httpConcurrentHeavy' })
  @HttpCode(200)
  @Requires('DATA_R')
  @ApiOperation({ summary: 'Search data messages and get the messages alone' })
  @ApiBody({ schema: { type: 'object', example: { size: 10, query: { term: { model: 'temperature_v0' } } } } })
  @ApiResponse({ status: 200, description: 'The messages.', schema: { example: HITS_EXAMPLE } })
  @ApiResponse(QUOTA)
  async hits(@Key() key: ApiKeyIdentity, @Body() body: unknown, @Res() reply: FastifyReply): Promise<void> {
    await this.answer(key, reply, () => this.searches.hits(key, 'v1', body));
  }

  @Post('v0/data/search/hits')
  @Limited({ concurrent: 'httpConcurrentHeavy' })
  @HttpCode(200)
  @Requires('DATA_R')
  @ApiOperation({ summary: 'Search data messages and get the messages alone' })
  @ApiBody({ schema: { type: 'object', example: { size: 10, query: { term: { model: 'temperature_v0' } } } } })
  @ApiResponse({ status: 200, description: 'The messages.', schema: { example: HITS_EXAMPLE } })
  @ApiResponse(QUOTA)
  async hitsV0(@Key() key: ApiKeyIdentity, @Body() body: unknown, @Res() reply: FastifyReply): Promise<void> {
    await this.answer(key, reply, () => this.searches.hits(key, 'v0', body));
  }

  private async answer(key: ApiKeyIdentity, reply: FastifyReply, search: () => Promise<unknown>): Promise<void> {
    const answer = await this.computeTime.measure(key, reply, search);
    // A search answers something, or has been refused already.
    if (answer !== undefined) await reply.send(answer);
  }
}
