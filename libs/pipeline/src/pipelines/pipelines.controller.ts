import { Body, Controller, Delete, Get, HttpCode, Inject, Param, Post, Put } from '@nestjs/common';
import { ApiBody, ApiCreatedResponse, ApiOkResponse, ApiTags } from '@nestjs/swagger';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { Key, Requires } from '@orrery/core/http';
import { PipelineDto } from './pipeline.dto.js';
import { PipelinesService } from './pipelines.service.js';

// The manual names no role here; the vendor's public contract asks for DATA_PROCESSING_R and _W.
@ApiTags('Custom pipelines')
@Controller('/api/v0/pipelines')
export class PipelinesController {
  constructor(@Inject(PipelinesService) private readonly pipelines: PipelinesService) {}

  /** In the order in which they are tried. */
  @Get()
  @Requires('DATA_PROCESSING_R')
  @ApiOkResponse({ type: [PipelineDto] })
  list(@Key() key: ApiKeyIdentity): Promise<PipelineDto[]> {
    return this.pipelines.list(key.tenantId);
  }

  @Post()
  @Requires('DATA_PROCESSING_W')
  @ApiBody({ type: PipelineDto })
  @ApiCreatedResponse({ type: PipelineDto })
  create(@Key() key: ApiKeyIdentity, @Body() body: unknown): Promise<PipelineDto> {
    return this.pipelines.create(key.tenantId, key.limits, body);
  }

  @Get(':pipelineId')
  @Requires('DATA_PROCESSING_R')
  @ApiOkResponse({ type: PipelineDto })
  get(@Key() key: ApiKeyIdentity, @Param('pipelineId') id: string): Promise<PipelineDto> {
    return this.pipelines.get(key.tenantId, id);
  }

  @Put(':pipelineId')
  @Requires('DATA_PROCESSING_W')
  @ApiBody({ type: PipelineDto })
  @ApiOkResponse({ type: PipelineDto })
  update(@Key() key: ApiKeyIdentity, @Param('pipelineId') id: string, @Body() body: unknown): Promise<PipelineDto> {
    return this.pipelines.update(key.tenantId, id, body);
  }

  @Delete(':pipelineId')
  @HttpCode(204)
  @Requires('DATA_PROCESSING_W')
  delete(@Key() key: ApiKeyIdentity, @Param('pipelineId') id: string): Promise<void> {
    return this.pipelines.delete(key.tenantId, id);
  }
}
