import { Body, Controller, Delete, Get, HttpCode, Inject, Param, Post, Put, Query } from '@nestjs/common';
import { ApiBody, ApiOkResponse, ApiTags } from '@nestjs/swagger';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { ApiPagingV0, invalidParameter, Key, pagingV0, Requires } from '@orrery/core/http';
import { CreateFifoDto, FIFO_NAME, FIFO_NAME_EXPECTED, FifoDto, FifoPageDto, UpdateFifoDto } from './fifo.dto.js';
import { FifosService } from './fifos.service.js';

const checkedName = (name: string): string => {
  if (!FIFO_NAME.test(name)) throw invalidParameter('fifoName', FIFO_NAME_EXPECTED);
  return name;
};

@ApiTags('FIFO')
@Controller('/api/v0/topics/fifo')
export class FifosController {
  constructor(@Inject(FifosService) private readonly fifos: FifosService) {}

  @Get()
  @Requires('BUS_CONFIG_R')
  @ApiPagingV0()
  @ApiOkResponse({ type: FifoPageDto })
  list(@Key() key: ApiKeyIdentity, @Query() query: Record<string, unknown>): Promise<FifoPageDto> {
    return this.fifos.list(key.tenantId, pagingV0(query));
  }

  @Post()
  @HttpCode(200)
  @Requires('BUS_CONFIG_W')
  @ApiBody({ type: CreateFifoDto })
  @ApiOkResponse({ type: FifoDto })
  create(@Key() key: ApiKeyIdentity, @Body() body: CreateFifoDto): Promise<FifoDto> {
    return this.fifos.create(key.tenantId, key.limits, body);
  }

  @Get(':fifoName')
  @Requires('BUS_CONFIG_R')
  @ApiOkResponse({ type: FifoDto })
  get(@Key() key: ApiKeyIdentity, @Param('fifoName') name: string): Promise<FifoDto> {
    return this.fifos.get(key.tenantId, checkedName(name));
  }

  @Put(':fifoName')
  @Requires('BUS_CONFIG_W')
  @ApiBody({ type: UpdateFifoDto })
  @ApiOkResponse({ type: FifoDto })
  update(@Key() key: ApiKeyIdentity, @Param('fifoName') name: string, @Body() body: UpdateFifoDto): Promise<FifoDto> {
    return this.fifos.update(key.tenantId, checkedName(name), key.limits, body);
  }

  @Delete(':fifoName')
  @Requires('BUS_CONFIG_W')
  delete(@Key() key: ApiKeyIdentity, @Param('fifoName') name: string): Promise<void> {
    return this.fifos.delete(key.tenantId, checkedName(name));
  }
}
