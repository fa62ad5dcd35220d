import { Body, Controller, Delete, Get, HttpCode, Inject, Param, Post, Query } from '@nestjs/common';
import { ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { Key, Limited, Requires } from '@orrery/core/http';
import { CountsDto, CreateReindexingDto, ReindexingDto } from './reindexing.dto.js';
import { ReindexingService } from './reindexing.service.js';

/** Makes the index again from the store, and compares both. */
@ApiTags('Data search')
@Controller('api/v1/data/search')
export class ReindexingController {
  constructor(@Inject(ReindexingService) private readonly reindexing: ReindexingService) {}

  @Post('reindexings')
  @Requires('DATA_W')
  @ApiOperation({ summary: 'Index stored messages again' })
  @ApiResponse({ status: 201, type: ReindexingDto, description: 'It runs; new messages are indexed meanwhile.' })
  @ApiResponse({ status: 409, description: 'Several are running already.' })
  create(@Key() key: ApiKeyIdentity, @Body() dto: CreateReindexingDto): Promise<ReindexingDto> {
    return this.reindexing.create(key, dto);
  }

  @Get('reindexings')
  @Requires('DATA_R')
  @ApiOperation({ summary: 'List re-indexings, newest first' })
  @ApiResponse({ status: 200, type: [ReindexingDto], description: 'The last ones.' })
  list(@Key() { tenantId }: ApiKeyIdentity): Promise<ReindexingDto[]> {
    return this.reindexing.list(tenantId);
  }

  @Get('reindexings/:reindexingId')
  @Requires('DATA_R')
  @ApiOperation({ summary: 'Progress of a re-indexing' })
  @ApiResponse({ status: 200, type: ReindexingDto, description: 'How far it is.' })
  @ApiResponse({ status: 404, description: 'There is none with this id.' })
  find(@Key() { tenantId }: ApiKeyIdentity, @Param('reindexingId') id: string): Promise<ReindexingDto> {
    return this.reindexing.find(tenantId, id);
  }

  @Delete('reindexings/:reindexingId')
  @HttpCode(204)
  @Requires('DATA_W')
  @ApiOperation({ summary: 'Cancel a re-indexing' })
  @ApiResponse({ status: 204, description: 'It does not run any more.' })
  @ApiResponse({ status: 404, description: 'There is none with this id.' })
  cancel(@Key() { tenantId }: ApiKeyIdentity, @Param('reindexingId') id: string): Promise<void> {
    return this.reindexing.cancel(tenantId, id);
  }

  @Get('counts')
  @Limited({ concurrent: 'httpConcurrentHeavy' })
  @Requires('DATA_R')
  @ApiOperation({ summary: 'Count the messages of a time in the store and in the index' })
  @ApiResponse({ status: 200, type: CountsDto, description: 'Both numbers.' })
  counts(@Key() key: ApiKeyIdentity, @Query() range: CreateReindexingDto): Promise<CountsDto> {
    return this.reindexing.counts(key, range);
  }
}
