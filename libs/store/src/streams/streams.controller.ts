import { Readable } from 'node:stream';
import { Body, Controller, Get, Headers, HttpCode, Inject, Param, Post, Query, Res } from '@nestjs/common';
import { ApiBody, ApiOperation, ApiQuery, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { Key, Limited, Requires } from '@orrery/core/http';
import type { FastifyReply } from 'fastify';
import { type StreamQuery, StreamsService } from './streams.service.js';

const MESSAGE_SCHEMA = {
  type: 'object',
  example: { value: { temp: 24.1 }, model: 'data_model_v0', tags: ['prototype'], location: { lat: 48.86, lon: 2.33 } },
};

/** Data injection and the streams API (manual 13.2). Bodies are checked by the code that checks MQTT publications. */
@ApiTags('Data store')
@Controller('api/v0/data')
export class StreamsController {
  constructor(@Inject(StreamsService) private readonly streams: StreamsService) {}

  @Post('streams/:streamId')
  @HttpCode(202)
  @Requires('DATA_W')
  @ApiOperation({ summary: 'Add a data message to a stream' })
  @ApiBody({ schema: MESSAGE_SCHEMA })
  @ApiResponse({
    status: 202,
    description: 'The message is kept; `id` identifies it.',
    schema: { example: { id: '019aab3f6f1f00000a1b2c3d' } },
  })
  async add(
    @Key() key: ApiKeyIdentity,
    @Param('streamId') streamId: string,
    @Body() body: unknown,
    @Headers('traceparent') traceparent?: string,
  ): Promise<{ id: string }> {
    return { id: await this.streams.add(key, streamId, body, traceparent) };
  }

  @Post('bulk')
  @Limited({ concurrent: 'httpConcurrentHeavy', perMinute: 'bulksPerMinute' })
  @HttpCode(202)
  @Requires('DATA_W')
  @ApiOperation({ summary: 'Add up to 1000 data messages, all or none' })
  @ApiBody({ schema: { type: 'array', items: MESSAGE_SCHEMA } })
  @ApiResponse({
    status: 202,
    description: 'All messages are kept.',
    schema: { example: { ids: ['019aab3f6f1f00000a1b2c3d'] } },
  })
  async addBulk(
    @Key() key: ApiKeyIdentity,
    @Body() body: unknown,
    @Headers('traceparent') traceparent?: string,
  ): Promise<{ ids: string[] }> {
    return { ids: await this.streams.addBulk(key, body, traceparent) };
  }

  // What is counted are the messages that were read.
  @Get('streams/:streamId')
  @Limited({ perMinute: 'streamReadsPerMinute', points: 0 })
  @Requires('DATA_R')
  @ApiOperation({ summary: 'Read a stream from newest to oldest' })
  @ApiQuery({ name: 'limit', required: false, type: Number, description: '100 unless told otherwise, at most 1000' })
  @ApiQuery({ name: 'timeRange', required: false, description: '`from,to` in ISO 8601, both included' })
  @ApiQuery({ name: 'bookmarkId', required: false, description: 'Continue after the message with this id' })
  async read(
    @Key() key: ApiKeyIdentity,
    @Param('streamId') streamId: string,
    @Query() query: StreamQuery,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    // Stored messages are JSON already: they are joined, not parsed and printed again.
    const messages = await this.streams.read(key, streamId, query);
    // The server would read it to its end, and nobody would wait for that.
    if (messages instanceof Readable && reply.request.method === 'HEAD') messages.destroy();
    await reply.type('application/json; charset=utf-8').send(messages);
  }
}
