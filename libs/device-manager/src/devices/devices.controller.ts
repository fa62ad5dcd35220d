import { Body, Controller, Delete, Get, HttpCode, Inject, Param, Patch, Post, Query, Req, Res } from '@nestjs/common';
import { ApiBody, ApiOperation, ApiQuery, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { ApiError, ApiPagingV1, Key, pageV1, pagingV1, Requires, wantsTotal } from '@orrery/core/http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ListQuery } from '../list-query.js';
import { CreateDeviceDto, type DeviceView, UpdateDeviceDto } from './device.dto.js';
import { parseDeviceList } from './device-list.js';
import { DevicesService } from './devices.service.js';

const DESCRIPTION = {
  name: 'mySensor001',
  description: 'moisture sensor',
  defaultDataStreamId: 'myStream',
  tags: ['Lyon', 'Test'],
  properties: { manufacturer: 'Orange', model: 'MoistureSensorV3' },
  group: { path: '/france/lyon' },
  staticLocation: { lat: 45.76, lon: 4.83, alt: 173 },
};
const REGISTRATION = {
  id: 'urn:lo:nsid:sensor:temp001',
  ...DESCRIPTION,
  interfaces: [{ connector: 'mqtt', enabled: true, definition: { clientId: 'mydevice_001' } }],
};
const FILTERS: Record<string, string> = {
  id: 'Device id',
  groupId: 'Id of the group',
  groupPath: 'Path of the group, or `path/*` with its subgroups',
  name: '`*foo*`, `*foo`, `foo*`, `foo` or `"foo"`',
  tags: 'Tags that a device must all have, separated by commas',
  connectors: 'Connectors of which a device must have one, separated by commas',
  'interfaces.nodeId': 'Node id of an interface',
  'interfaces.status': 'Statuses of which an interface must have one, separated by commas',
  'interfaces.enabled': '`true` or `false`',
  'property.{name}': 'Value of a property',
  filterQuery: 'RSQL expression of tags, properties.{key}, groupId, groupPath and connector',
  sort: 'id, name, group, created, updated, interfaces.status, interfaces.enabled or interfaces.lastContact; `-` before it descends',
  fields: 'Fields of each device; id, name, group and tags by default',
};

const ApiFilters = (): MethodDecorator => (target, key, descriptor) => {
  for (const [name, description] of Object.entries(FILTERS))
    ApiQuery({ name, required: false, description })(target, key, descriptor);
};

/** Manual 5.3. */
@ApiTags('Device management - Inventory')
@Controller('api/v1/deviceMgt/devices')
export class DevicesController {
  constructor(@Inject(DevicesService) private readonly devices: DevicesService) {}

  @Post()
  @HttpCode(200)
  @Requires('DEVICE_W')
  @ApiOperation({ summary: 'Register a device' })
  @ApiBody({ schema: { type: 'object', example: REGISTRATION } })
  @ApiResponse({ status: 200, description: 'The device' })
  create(@Key() key: ApiKeyIdentity, @Body() body: CreateDeviceDto): Promise<DeviceView> {
    return this.devices.create(key, body);
  }

  @Get()
  @Requires('DEVICE_R')
  @ApiOperation({ summary: 'List devices' })
  @ApiPagingV1()
  @ApiFilters()
  @ApiResponse({ status: 200, description: 'The devices' })
  async list(
    @Key() key: ApiKeyIdentity,
    @Query() query: ListQuery,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<Array<Partial<DeviceView>>> {
    const page = pagingV1(query);
    const { items, total } = await this.devices.list(key.tenantId, {
      ...parseDeviceList(query),
      ...page,
      total: wantsTotal(request),
    });
    return pageV1(reply, page.limit, items, total);
  }

  @Get(':deviceId')
  @Requires('DEVICE_R')
  @ApiOperation({ summary: 'Read a device' })
  @ApiResponse({ status: 200, description: 'The device' })
  get(@Key() key: ApiKeyIdentity, @Param('deviceId') deviceId: string): Promise<DeviceView> {
    return this.devices.get(key.tenantId, deviceId);
  }

  // Clients that follow the slip of an example in manual 5.2.1.6 are told so, instead of a path that does not exist.
  @Post(':deviceId')
  @Requires('DEVICE_W')
  @ApiOperation({ summary: 'Not allowed: devices are registered at /devices', deprecated: true })
  notAllowed(@Res({ passthrough: true }) reply: FastifyReply): never {
    void reply.header('Allow', 'GET, PATCH, DELETE');
    throw new ApiError('METHOD_NOT_ALLOWED');
  }

  @Patch(':deviceId')
  @Requires('DEVICE_W')
  @ApiOperation({ summary: 'Update a device: what is omitted is kept, null restores the default' })
  @ApiBody({ schema: { type: 'object', example: DESCRIPTION } })
  @ApiResponse({ status: 200, description: 'The device' })
  update(
    @Key() key: ApiKeyIdentity,
    @Param('deviceId') deviceId: string,
    @Body() body: UpdateDeviceDto,
  ): Promise<DeviceView> {
    return this.devices.update(key, deviceId, body);
  }

  @Delete(':deviceId')
  @HttpCode(204)
  @Requires('DEVICE_W')
  @ApiOperation({ summary: 'Delete a device and its interfaces' })
  @ApiResponse({ status: 204, description: 'Deleted' })
  delete(@Key() key: ApiKeyIdentity, @Param('deviceId') deviceId: string): Promise<void> {
    return this.devices.delete(key.tenantId, deviceId);
  }
}
