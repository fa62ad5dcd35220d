import { Controller, Get, Inject, Query, Req, Res } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { ApiPagingV1, Key, pageV1, pagingV1, Requires, wantsTotal } from '@orrery/core/http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { WaitingSmsDto } from './sms.dto.js';
import { SmsQueue } from './sms-queue.js';

@ApiTags('Triggers and Actions')
@Controller('/api/v1/event2action/sms')
export class SmsController {
  constructor(@Inject(SmsQueue) private readonly queue: SmsQueue) {}

  @Get()
  @Requires('DATA_PROCESSING_R')
  @ApiOperation({ summary: 'SMS of action policies that have not been sent yet, the oldest first' })
  @ApiPagingV1()
  @ApiOkResponse({ type: [WaitingSmsDto] })
  async list(
    @Key() key: ApiKeyIdentity,
    @Query() query: Record<string, unknown>,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<WaitingSmsDto[]> {
    const paging = pagingV1(query);
    const { sms, total } = await this.queue.list(key.tenantId, paging);
    const items = sms.map((row) => ({
      id: row.id,
      actionPolicyId: row.policy_id,
      destinationPhoneNumber: row.phone_number,
      content: row.text,
      created: row.created.toISOString(),
    }));
    return pageV1(reply, paging.limit, items, wantsTotal(request) ? total : undefined);
  }
}
