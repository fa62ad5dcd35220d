import { applyDecorators, Controller, Get, Inject, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiQuery, ApiTags } from '@nestjs/swagger';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { Key, Requires } from '@orrery/core/http';
import { AuditMessage } from './message.dto.js';
import { parseMessagesQuery } from './messages.query.js';
import { MessagesService } from './messages.service.js';

const optional = (name: string, description?: string): MethodDecorator =>
  ApiQuery({ name, required: false, type: String, ...(description ? { description } : {}) });

@ApiTags('audit log')
@Controller('api/v0/auditlog')
export class MessagesController {
  constructor(@Inject(MessagesService) private readonly messages: MessagesService) {}

  @Get('messages')
  @Requires('LOGS_R')
  @ApiOperation({
    summary: 'Search the audit log',
    description: 'Any field can be a filter, such as `source.connector=mqtt`; filters are combined with AND.',
  })
  @applyDecorators(
    optional('limit', '100, at most 1000'),
    optional('offset', 'at most 10000 together with limit'),
    optional('sort', '`desc`, newest first, or `asc`'),
    optional('from', 'ISO 8601'),
    optional('to', 'ISO 8601'),
    optional('level'),
    optional('category'),
    optional('subcategory'),
    optional('type'),
    optional('source.deviceId'),
    optional('source.nodeId'),
    optional('@any', 'text that occurs in some field; repeatable'),
  )
  @ApiOkResponse({ type: [AuditMessage] })
  search(@Key() key: ApiKeyIdentity, @Query() query: Record<string, unknown>): Promise<AuditMessage[]> {
    return this.messages.search(key.tenantId, parseMessagesQuery(query));
  }
}
