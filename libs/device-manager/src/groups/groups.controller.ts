import { Body, Controller, Delete, Get, HttpCode, Inject, Param, Post, Put, Query, Req, Res } from '@nestjs/common';
import { ApiBody, ApiOperation, ApiQuery, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { ApiPagingV1, Key, pageV1, pagingV1, Requires, wantsTotal } from '@orrery/core/http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { checkQuery, type ListQuery, single } from '../list-query.js';
import { CreateGroupDto, type GroupView, UpdateGroupDto } from './group.dto.js';
import { GroupsService } from './groups.service.js';

const GROUP_EXAMPLE = {
  id: 'u1z1k8',
  pathNode: 'lyon',
  path: '/france/lyon',
  parentId: 'P2112f',
  description: 'City of Lyon',
  created: '2018-02-14T16:53:54.515Z',
  updated: '2018-02-14T16:53:54.515Z',
};

/** Manual 8.1. */
@ApiTags('Device management - Groups')
@Controller('api/v1/deviceMgt/groups')
export class GroupsController {
  constructor(@Inject(GroupsService) private readonly groups: GroupsService) {}

  @Post()
  @Requires('DEVICE_W')
  @ApiOperation({ summary: 'Create a group' })
  @ApiBody({
    schema: { type: 'object', example: { pathNode: 'lyon', parentId: 'P2112f', description: 'City of Lyon' } },
  })
  @ApiResponse({ status: 201, schema: { example: GROUP_EXAMPLE } })
  create(@Key() key: ApiKeyIdentity, @Body() body: CreateGroupDto): Promise<GroupView> {
    return this.groups.create(key, body);
  }

  @Get()
  @Requires('DEVICE_R')
  @ApiOperation({ summary: 'List groups' })
  @ApiPagingV1()
  @ApiQuery({ name: 'parentId', required: false })
  @ApiQuery({ name: 'groupPath', required: false, description: 'A path, `path/*` or `path/*/`' })
  @ApiResponse({ status: 200, schema: { example: [GROUP_EXAMPLE] } })
  async list(
    @Key() key: ApiKeyIdentity,
    @Query() query: ListQuery,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<GroupView[]> {
    checkQuery(query);
    const page = pagingV1(query);
    const parentId = single(query, 'parentId');
    const groupPath = single(query, 'groupPath');
    const { items, total } = await this.groups.list(
      key.tenantId,
      { ...(parentId === undefined ? {} : { parentId }), ...(groupPath === undefined ? {} : { groupPath }) },
      page,
      wantsTotal(request),
    );
    return pageV1(reply, page.limit, items, total);
  }

  @Get(':groupId')
  @Requires('DEVICE_R')
  @ApiOperation({ summary: 'Read a group' })
  @ApiResponse({ status: 200, schema: { example: GROUP_EXAMPLE } })
  get(@Key() key: ApiKeyIdentity, @Param('groupId') groupId: string): Promise<GroupView> {
    return this.groups.get(key.tenantId, groupId);
  }

  @Put(':groupId')
  @Requires('DEVICE_W')
  @ApiOperation({ summary: 'Rename or move a group: without parentId it goes below the root group' })
  @ApiBody({
    schema: { type: 'object', example: { pathNode: 'paris', parentId: 'P2112f', description: 'City of Paris' } },
  })
  @ApiResponse({ status: 200, schema: { example: GROUP_EXAMPLE } })
  update(
    @Key() key: ApiKeyIdentity,
    @Param('groupId') groupId: string,
    @Body() body: UpdateGroupDto,
  ): Promise<GroupView> {
    return this.groups.update(key, groupId, body);
  }

  @Delete(':groupId')
  @HttpCode(204)
  @Requires('DEVICE_W')
  @ApiOperation({ summary: 'Delete a group that holds neither devices nor groups' })
  @ApiResponse({ status: 204, description: 'Deleted' })
  delete(@Key() key: ApiKeyIdentity, @Param('groupId') groupId: string): Promise<void> {
    return this.groups.delete(key.tenantId, groupId);
  }
}
