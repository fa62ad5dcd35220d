import { Body, Controller, Delete, Get, HttpCode, Inject, Param, Patch, Post } from '@nestjs/common';
import { ApiBody, ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { ApiKeyIdentity } from '@orrery/core/auth';
import { Key, Requires } from '@orrery/core/http';
import { CreateInterfaceDto, type InterfaceView, UpdateInterfaceDto } from './interface.dto.js';
import { InterfacesService } from './interfaces.service.js';

const DEFINITIONS = `What a definition holds depends on the connector:
- \`mqtt\`: clientId
- \`lora\`: devEUI, appEUI, appKey, activationType OTAA, profile, and connectivityPlan or connectivityOptions
- \`sms\`: msisdn, and optionally serverPhoneNumber
- \`lwm2m\`: endpointName, and either security (mode PSK, pskInfo with identity and secret) or bootstrap.managed true
- \`x-connector\`: nodeId
- \`sigfox\`: id, and optionally pac, deviceTypeId, automaticRenewal, activable and prototype
- \`sensoro\`: sn

Each may name an encoding. Keys and secrets are never returned; an update that leaves them out keeps them.`;

/** Manual 5.4. */
@ApiTags('Device management - Interfaces')
@Controller('api/v1/deviceMgt/devices/:deviceId/interfaces')
export class InterfacesController {
  constructor(@Inject(InterfacesService) private readonly interfaces: InterfacesService) {}

  @Post()
  @Requires('DEVICE_W')
  @ApiOperation({ summary: 'Add an interface to a device', description: DEFINITIONS })
  @ApiBody({
    schema: {
      type: 'object',
      example: {
        connector: 'mqtt',
        enabled: true,
        definition: { clientId: 'mydevice_001', encoding: 'myEncoding_v1' },
      },
    },
  })
  @ApiResponse({ status: 201, description: 'The interface' })
  create(
    @Key() key: ApiKeyIdentity,
    @Param('deviceId') deviceId: string,
    @Body() body: CreateInterfaceDto,
  ): Promise<InterfaceView> {
    return this.interfaces.create(key, deviceId, body);
  }

  @Get()
  @Requires('DEVICE_R')
  @ApiOperation({ summary: 'List the interfaces of a device' })
  @ApiResponse({ status: 200, description: 'All interfaces of the device' })
  list(@Key() key: ApiKeyIdentity, @Param('deviceId') deviceId: string): Promise<InterfaceView[]> {
    return this.interfaces.list(key.tenantId, deviceId);
  }

  @Get(':interfaceId')
  @Requires('DEVICE_R')
  @ApiOperation({ summary: 'Read an interface' })
  @ApiResponse({ status: 200, description: 'The interface' })
  get(
    @Key() key: ApiKeyIdentity,
    @Param('deviceId') deviceId: string,
    @Param('interfaceId') interfaceId: string,
  ): Promise<InterfaceView> {
    return this.interfaces.get(key, deviceId, interfaceId);
  }

  @Patch(':interfaceId')
  @Requires('DEVICE_W')
  @ApiOperation({ summary: 'Update an interface, or move it to another device' })
  @ApiBody({ schema: { type: 'object', example: { enabled: false, definition: { encoding: 'myDecoder' } } } })
  @ApiResponse({ status: 200, description: 'The interface' })
  update(
    @Key() key: ApiKeyIdentity,
    @Param('deviceId') deviceId: string,
    @Param('interfaceId') interfaceId: string,
    @Body() body: UpdateInterfaceDto,
  ): Promise<InterfaceView> {
    return this.interfaces.update(key, deviceId, interfaceId, body);
  }

  @Delete(':interfaceId')
  @HttpCode(204)
  @Requires('DEVICE_W')
  @ApiOperation({ summary: 'Delete an interface' })
  @ApiResponse({ status: 204, description: 'Deleted' })
  delete(
    @Key() key: ApiKeyIdentity,
    @Param('deviceId') deviceId: string,
    @Param('interfaceId') interfaceId: string,
  ): Promise<void> {
    return this.interfaces.delete(key, deviceId, interfaceId);
  }
}
